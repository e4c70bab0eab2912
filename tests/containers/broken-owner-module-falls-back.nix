# A module that does not evaluate, or after which the machine is not well, leaves the
# machine as it was. One that no longer fits a patched system is left out of it, and its
# owner told why, until it fits again.
{ modules }:
import ../common/own-module.nix {
  inherit modules;
  name = "broken-owner-module-falls-back";

  patches = {
    conflicting =
      { config, ... }:
      {
        environment.etc.deployed.text = "conflicting";
        assertions = [
          {
            assertion = !config.environment.etc ? own;
            message = "the file belongs to the fleet";
          }
        ];
      };
    fitting.environment.etc.deployed.text = "fitting";
  };

  own = {
    other = ../common/own-modules/other.nix;
    failing = ../common/own-modules/failing-service.nix;
    unwell = ../common/own-modules/unwell.nix;
  };
  evaluates = [
    {
      patch = "none";
      module = "other";
    }
    {
      patch = "fitting";
      module = "other";
    }
    {
      patch = "none";
      module = "failing";
    }
    {
      patch = "none";
      module = "unwell";
    }
  ];

  testScript = ''
    with subtest("one that does not evaluate is refused with the reason"):
        said = workspace.fail(apply("${../common/own-modules/typo.nix}"))
        assert "undefined variable 'pkg'" in said, said
        assert running() == DEPLOYED["none"]

    with subtest("so is one whose service fails"):
        said = workspace.fail(apply("${../common/own-modules/failing-service.nix}"))
        assert "broken.service" in said, said
        assert running() == DEPLOYED["none"]
        workspace.fail("systemctl is-failed broken")

    workspace.succeed(apply("${../common/own-modules/other.nix}"))
    assert running() == EXPECTED[0], running()

    with subtest("and one after which a check of the machine's health fails; the one before stays"):
        said = workspace.fail(apply("${../common/own-modules/unwell.nix}"))
        assert "the marker is there" in said, said
        assert running() == EXPECTED[0], running()
        assert workspace.succeed("cat /etc/own") == "other"

    with subtest("what no longer fits a patched system is left out of it"):
        deploy("conflicting")
        notice = workspace.wait_until_succeeds("cat /run/workspace/notice.txt", timeout=180)
        assert "the file belongs to the fleet" in notice, notice
        wait_for_system(DEPLOYED["conflicting"])
        workspace.fail("test -e /etc/own")
        status = workspace.wait_until_succeeds("su - alice -c 'workspace status' | grep 'left out'", timeout=60)
        assert "the file belongs to the fleet" in status, status

    with subtest("which strangers learn without the reason"):
        page = workspace.succeed("cat /run/workspace/notice.html")
        assert "left out" in page and "belongs" not in page, page

    with subtest("on the next that it fits it is there again, and the notice is gone"):
        deploy("fitting")
        wait_for_system(EXPECTED[1])
        workspace.wait_until_fails("test -e /run/workspace/notice.txt", timeout=120)
        workspace.wait_until_succeeds("workspace status | grep 'runs on top'", timeout=60)

    with subtest("killed in the middle of it, it goes on"):
        workspace.succeed("systemctl kill --signal=KILL workspace-own || true")
        deploy("conflicting")
        workspace.succeed("systemctl kill --signal=KILL workspace-own || true")
        workspace.wait_until_succeeds("test -e /run/workspace/notice.txt", timeout=180)
        deploy("fitting")
        workspace.succeed("systemctl kill --signal=KILL workspace-own || true")
        wait_for_system(EXPECTED[1])
  '';
}
