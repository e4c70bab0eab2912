# A module that the owner has applied is put on every system that the fleet deploys later,
# and can be taken back.
{ modules }:
import ../common/own-module.nix {
  inherit modules;
  name = "owner-module-survives-patch";

  patches.first.environment.etc.deployed.text = "first";

  own = {
    tool = ../common/own-modules/tool.nix;
    other = ../common/own-modules/other.nix;
  };
  evaluates = [
    {
      patch = "none";
      module = "tool";
    }
    {
      patch = "none";
      module = "other";
    }
    {
      patch = "first";
      module = "tool";
    }
  ];

  testScript = ''
    with subtest("a module that the owner applies is put on the deployed system"):
        print(workspace.succeed(apply("${../common/own-modules/tool.nix}")))
        assert running() == EXPECTED[0], running()
        assert workspace.succeed("su - alice -c my-tool") == "mine\n"
        workspace.succeed("systemctl is-active mine")

    with subtest("everybody can see that"):
        assert "own module  1, runs" in workspace.succeed("su - alice -c 'workspace status'")

    with subtest("what boots is the deployed system all the same"):
        assert booting() == DEPLOYED["none"], booting()

    with subtest("the collector of garbage leaves it alone"):
        assert "/workspace-own/healthy" in workspace.succeed(f"nix-store --query --roots {EXPECTED[0]}")

    with subtest("another one takes its place, and is taken back"):
        workspace.succeed(apply("${../common/own-modules/other.nix}"))
        assert running() == EXPECTED[1], running()
        workspace.fail("systemctl is-active mine")
        workspace.succeed("workspace rollback")
        assert running() == EXPECTED[0], running()
        workspace.succeed("systemctl is-active mine")

    with subtest("it is there again on a patched system"):
        deploy("first")
        wait_for_system(EXPECTED[2])
        workspace.wait_until_succeeds("systemctl is-active mine", timeout=60)
        assert workspace.succeed("cat /etc/deployed") == "first"
        assert workspace.succeed("su - alice -c my-tool") == "mine\n"
        workspace.wait_until_succeeds("systemctl show --property=ActiveState workspace-own | grep --quiet inactive", timeout=120)
        assert standing() == {"module": 1, "left_out": None}, standing()
        workspace.fail("test -e /run/workspace/notice.txt")

    with subtest("rolled back once more the machine runs as deployed"):
        workspace.succeed("workspace rollback")
        assert running() == DEPLOYED["first"], running()
        assert standing() is None, standing()
        workspace.fail("systemctl is-active mine")
        assert workspace.succeed("systemctl --failed --no-legend") == ""
  '';
}
