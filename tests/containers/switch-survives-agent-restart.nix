# A switch that restarts the agent, and an agent that is killed while it switches, come to the
# same end as one undisturbed, and the switch is not run twice.
{ modules }:
import ../common/fleet-of-one.nix {
  inherit modules;
  name = "switch-survives-agent-restart";

  next.restarting = {
    systemd.services.workspace-agent.environment.OTHER = "yes";
    systemd.services.slow = {
      wantedBy = [ "multi-user.target" ];
      serviceConfig.Type = "oneshot";
      serviceConfig.RemainAfterExit = true;
      script = "until [ -e /run/go-on ]; do sleep 0.2; done";
    };
  };

  testScript = ''
    upload("restarting")
    want("restarting")
    workspace.wait_until_succeeds("systemctl show --property=ActiveState slow | grep activating", timeout=90)

    with subtest("while the switch goes on the agent is killed"):
        workspace.succeed("systemctl kill --signal=KILL workspace-agent")
        workspace.succeed("systemctl show --property=ActiveState workspace-switch | grep activating")
        workspace.wait_until_succeeds("systemctl show --property=SubState workspace-agent | grep running", timeout=60)
        workspace.succeed("touch /run/go-on")

    with subtest("the new agent finds its end, and commits"):
        wait_for_state("current")
        assert running() == booting() == SYSTEMS["restarting"]
        assert "OTHER=yes" in workspace.succeed("systemctl show --property=Environment workspace-agent")
        switches = workspace.succeed("journalctl --unit workspace-switch --output cat | grep --count '^switching to system configuration'")
        assert switches.strip() == "1", switches
        assert workspace.succeed("systemctl --failed --no-legend") == ""
  '';
}
