# A system that stays healthy becomes the one that boots, without a restart of what people use,
# and the machine says so.
{ modules }:
import ../common/fleet-of-one.nix {
  inherit modules;
  name = "good-update-commits";

  next.good = {
    environment.etc.patched.text = "yes";
  };

  testScript = ''
    with subtest("what is wanted is fetched, tried and committed"):
        upload("good")
        nginx = workspace.succeed("systemctl show --property=InvocationID nginx")
        want("good")
        wait_for_state("current")
        assert running() == SYSTEMS["good"], running()
        assert booting() == SYSTEMS["good"], booting()
        assert workspace.succeed("cat /etc/patched") == "yes"
        assert workspace.succeed("systemctl show --property=InvocationID nginx") == nginx

    with subtest("the report is true"):
        assert attribute("system") == SYSTEMS["good"]
        assert attribute("wanted") == SYSTEMS["good"]
        assert attribute("generation") == "2"
        assert attribute("reason") == ""
        status = json.loads(workspace.succeed("workspace status --json"))
        assert status["state"] == "current", status

    with subtest("the owner can go back, and stays there"):
        assert SYSTEMS["good"] in workspace.succeed("workspace history")
        workspace.succeed("workspace rollback")
        assert running() == booting() == NOW
        wait_for_state("reverted")
        assert "the owner went back" in attribute("reason")
        assert "the owner went back" in workspace.succeed("workspace why")

    with subtest("and return to what the fleet wants"):
        workspace.succeed("workspace update")
        assert running() == booting() == SYSTEMS["good"]
        wait_for_state("current")

    with subtest("the agent needs little"):
        rss = int(workspace.succeed("grep VmRSS /proc/$(systemctl show --property=MainPID --value workspace-agent)/status | tr --delete --complement 0-9"))
        print(f"agent: {rss} kB resident")
        assert rss < 15_000, rss
        assert workspace.succeed("systemctl --failed --no-legend") == ""
  '';
}
