# Whoever can write to the bucket but has no key cannot put other contents under a signed name.
{ modules }:
import ../common/fleet-of-one.nix {
  inherit modules;
  name = "tampered-narinfo-refused";

  next.good.environment.etc.patched.text = "yes";

  testScript = ''
    upload("good")
    narinfo = "/run/cloud/bucket/" + SYSTEMS["good"].removeprefix("/nix/store/")[:32] + ".narinfo"
    google.succeed("cp --recursive /run/cloud/bucket /run/whole")
    google.succeed(f"sed --in-place 's/^NarSize: .*/NarSize: 4242/' {narinfo}")

    with subtest("with another size the signature does not hold"):
        want("good")
        wait_for_state("failed")
        assert "signed" in attribute("reason"), attribute("reason")
        assert running() == booting() == NOW

    with subtest("nor does it with another path's contents"):
        google.succeed("rm -r /run/cloud/bucket; cp --recursive /run/whole /run/cloud/bucket")
        other = google.succeed("grep --files-without-match nixos-system /run/cloud/bucket/*.narinfo").split()[0]
        google.succeed(f"sed --in-place \"s,^URL: .*,$(grep ^URL: {other}),\" {narinfo}")
        workspace.fail("workspace update")
        assert running() == booting() == NOW
        workspace.fail(f"env --unset=NIX_REMOTE nix-store --check-validity {SYSTEMS['good']}")
  '';
}
