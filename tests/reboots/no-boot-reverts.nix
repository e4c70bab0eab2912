# An update of what boots comes by a reboot. One whose kernel panics is followed by the old system
# after that one boot, which is also what the profile stands on, and the reason is said. One that
# comes up and stays healthy is committed.
{ modules }:
import ../common/fleet-of-one.nix {
  inherit modules;
  name = "no-boot-reverts";
  boots = true;

  workspace =
    { pkgs, ... }:
    {
      workspace.agent.idle = "${pkgs.coreutils}/bin/true";
    };

  next.panics =
    { lib, pkgs, ... }:
    {
      # A kernel that finds no initrd finds no root.
      system.build.initialRamdisk = lib.mkForce (
        pkgs.runCommand "no-initrd" { } "mkdir $out; echo nothing > $out/initrd"
      );
    };
  next.boots =
    { pkgs, ... }:
    {
      # The kernel skips zeros.
      boot.initrd.prepend = [ "${pkgs.runCommand "zeros" { } "head --bytes=512 /dev/zero > $out"}" ];
    };

  testScript = ''
    def wait_for_reboot():
        """A reboot ends the machine's process."""
        workspace.wait_for_shutdown()

    upload("panics")
    want("panics")

    with subtest("what does not boot is tried by one boot"):
        wait_for_reboot()
        workspace.start()
        wait_for_reboot()
        assert "Kernel panic" in workspace.get_console_log()

    with subtest("the old system comes back by itself, and says why"):
        google.succeed("rm /run/cloud/attributes/state")
        boot()
        assert booted() == NOW, booted()
        wait_for_state("reverted")
        assert running() == booting() == NOW
        assert attribute("system") == NOW
        assert "it did not boot" in attribute("reason"), attribute("reason")

    with subtest("and keeps coming: of the other nothing is left in the menu"):
        assert SYSTEMS["panics"] not in workspace.succeed("workspace history")
        assert SYSTEMS["panics"] not in workspace.succeed("bootctl list --json=short")

    with subtest("what boots is committed"):
        upload("boots")
        want("boots")
        wait_for_reboot()
        boot()
        assert booted() == SYSTEMS["boots"], booted()
        wait_for_state("current")
        assert running() == booting() == SYSTEMS["boots"]
        default = json.loads(workspace.succeed("bootctl list --json=short"))
        chosen = [entry["options"] for entry in default if entry.get("isDefault")]
        assert len(chosen) == 1 and SYSTEMS["boots"] in chosen[0], default
        assert workspace.succeed("systemctl --failed --no-legend") == ""
  '';
}
