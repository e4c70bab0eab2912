# The journal is on the disk, is limited, and tells who came in by SSH, with which key, and
# what was done by sudo. Root does not come in.
{ modules }:
{
  name = "logins-are-recorded";

  containers.workspace =
    { config, ... }:
    {
      imports = [ modules.hardening ];
      workspace = {
        name = "alice";
        owner = "alice@acme.example";
      };
      services.openssh.enable = true;
      # In containers sshd runs without PAM, and takes an account that never had a password
      # for a locked one.
      users.users.alice.hashedPassword = "*";
      environment.etc."sudo-of-the-store".source = "${config.security.sudo.package}/bin/sudo";
    };

  containers.client = { pkgs, ... }: { environment.systemPackages = [ pkgs.openssh ]; };

  testScript = ''
    ssh = "ssh -i /tmp/key -o BatchMode=yes -o StrictHostKeyChecking=accept-new -o ConnectTimeout=10"

    start_all()
    workspace.wait_for_unit("sshd.socket")
    client.wait_for_unit("multi-user.target")
    client.succeed("ssh-keygen -q -t ed25519 -N \"\" -f /tmp/key")
    key = client.succeed("cat /tmp/key.pub").strip()
    fingerprint = client.succeed("ssh-keygen -lf /tmp/key.pub").split()[1]
    for user in ["root", "alice"]:
        home = workspace.succeed(f"getent passwd {user} | cut -d: -f6").strip()
        workspace.succeed(
            f"install -d -o {user} -m 700 {home}/.ssh",
            f"echo '{key}' > {home}/.ssh/authorized_keys",
            f"chown {user} {home}/.ssh/authorized_keys",
        )

    with subtest("the owner comes in, root does not"):
        assert client.succeed(f"{ssh} alice@workspace whoami").strip() == "alice"
        client.fail(f"{ssh} root@workspace whoami")

    with subtest("both are recorded, with the key"):
        workspace.wait_until_succeeds(f"journalctl -g 'Accepted publickey for alice' | grep -F {fingerprint}", timeout=30)
        workspace.wait_until_succeeds("journalctl -g 'ROOT LOGIN REFUSED'", timeout=30)

    with subtest("so is sudo, with its command"):
        # As root, for no program of a container changes its user by itself.
        workspace.succeed("/etc/sudo-of-the-store --user=alice id --user")
        workspace.wait_until_succeeds("journalctl --identifier=sudo -g 'USER=alice ; COMMAND=.*/id --user'", timeout=30)

    with subtest("the journal is on the disk and has its bounds"):
        workspace.succeed("journalctl --flush", "ls /var/log/journal/*/system.journal")
        limits = workspace.succeed("systemd-analyze cat-config systemd/journald.conf")
        assert "Storage=persistent" in limits and "SystemMaxUse=1G" in limits, limits
  '';
}
