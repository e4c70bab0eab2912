# An upload that was cut off is not run, nor is any part of it taken for whole.
{ modules }:
import ../common/fleet-of-one.nix {
  inherit modules;
  name = "truncated-nar-refused";

  next.good.environment.etc.patched.text = "yes";

  testScript = ''
    upload("good")
    google.succeed("cp --recursive /run/cloud/bucket /run/whole")
    google.succeed("for nar in /run/cloud/bucket/nar/*; do truncate --size=-20 $nar; done")

    with subtest("cut off it is refused"):
        want("good")
        wait_for_state("failed")
        assert "cannot be fetched" in attribute("reason"), attribute("reason")
        assert running() == booting() == NOW
        workspace.fail(f"env --unset=NIX_REMOTE nix-store --check-validity {SYSTEMS['good']}")

    with subtest("whole it is taken"):
        google.succeed("rm -r /run/cloud/bucket; cp --recursive /run/whole /run/cloud/bucket")
        workspace.succeed("workspace update")
        assert running() == booting() == SYSTEMS["good"]
  '';
}
