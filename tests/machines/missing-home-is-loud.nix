# A workspace whose disk is missing says so on its login page and in terminals, opens no
# editor, takes nothing for garbage that the disk may name, and lets nobody write to the boot
# disk what belongs on the other one.
{ modules }:
let
  domain = "alice.endpoints.acme-data-science.cloud.goog";
in
{
  name = "missing-home-is-loud";

  nodes.machine =
    { pkgs, ... }:
    {
      imports = [
        modules.gateway
        modules.home
        modules.ide
        modules.storage
        ../common/persist-in-test-machine.nix
      ];
      workspace = {
        name = "alice";
        owner = "alice@acme.example";
        inherit domain;
        gateway.acmeEmail = "ops@acme.example";
        home.device = "/dev/disk/by-id/virtio-home";
      };
      virtualisation.memorySize = 2048;
      networking.useDHCP = false;
      environment.systemPackages = [ pkgs.curl ];
    };

  testScript = { nodes, ... }: ''
    import subprocess

    site = "--silent --show-error --insecure --resolve ${domain}:443:127.0.0.1 https://${domain}"
    machine.start()
    machine.wait_for_unit("multi-user.target", timeout=900)

    with subtest("the login page says so"):
        page = machine.wait_until_succeeds(f"curl --fail {site}/oauth2/sign_in", timeout=300)
        assert "The disk with your files is missing" in page, page
        assert 'type="password"' in page, page

    with subtest("and so do terminals"):
        machine.succeed("bash -l -i -c true 2>&1 | grep 'The disk with your files is missing'")

    with subtest("nothing is collected, as links in the home may name it"):
        machine.succeed("systemctl start nix-gc")
        assert machine.succeed("systemctl show --property=ConditionResult --value nix-gc").strip() == "no"

    with subtest("nobody writes to the boot disk in its place"):
        machine.fail("mountpoint /home")
        machine.fail("touch /home/file")
        machine.fail("mkdir /home/alice")
        assert machine.succeed("ls -A /home") == ""

    with subtest("no editor runs"):
        machine.fail("systemctl is-active openvscode-server")
        machine.fail("pgrep --full server-main")

    with subtest("the journal says what to do"):
        assert "is missing. Attach it." in machine.succeed("journalctl --unit workspace-disk-missing")

    with subtest("attached to the running machine it is used, and the bad news is gone"):
        disk = machine.state_dir / "home.qcow2"
        subprocess.run(["${nodes.machine.virtualisation.qemu.package}/bin/qemu-img", "create", "-q", "-f", "qcow2", str(disk), "512M"], check=True)
        machine.send_monitor_command(f"drive_add 0 file={disk},if=none,id=home,format=qcow2")
        machine.send_monitor_command("device_add virtio-blk-pci,drive=home,serial=home")
        machine.wait_until_succeeds("mountpoint /home", timeout=300)
        machine.succeed("runuser -u alice -- touch /home/alice/file")
        machine.wait_for_unit("openvscode-server.service", timeout=300)
        page = machine.wait_until_succeeds(f"curl --fail {site}/oauth2/sign_in", timeout=120)
        assert "missing" not in page, page
  '';
}
