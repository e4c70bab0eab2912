# What no deployer has signed is not run, though it is in the bucket and wanted.
{ modules }:
import ../common/fleet-of-one.nix {
  inherit modules;
  name = "unsigned-closure-refused";

  next.good.environment.etc.patched.text = "yes";

  testScript = ''
    with subtest("unsigned it is refused, and the reason says so"):
        upload("good", signed=False)
        want("good")
        wait_for_state("failed")
        assert "signed" in attribute("reason"), attribute("reason")
        assert running() == booting() == NOW
        workspace.fail(f"env --unset=NIX_REMOTE nix-store --check-validity {SYSTEMS['good']}")

    with subtest("signed it is taken, without a wait for what was missing before"):
        google.succeed("rm -r /run/cloud/bucket")
        upload("good")
        workspace.succeed("workspace update")
        assert running() == booting() == SYSTEMS["good"]
        wait_for_state("current")
  '';
}
