# The owner's Google account reaches the account that runs the editor, by the name that
# gcloud uses and by its own. Nobody else's does, nor does an expired key, nor one without
# IAM's leave. The metadata server is simulated; operators' own accounts are Google's part
# and not shown.
{ modules }:
{
  name = "ssh-reaches-the-owner";

  containers.google =
    { pkgs, ... }:
    {
      networking.firewall.allowedTCPPorts = [ 80 ];
      systemd.services.metadata = {
        wantedBy = [ "multi-user.target" ];
        serviceConfig.ExecStart = "${pkgs.python3}/bin/python3 ${../common/os-login.py} /run/world.json";
      };
    };

  containers.workspace =
    { containers, lib, ... }:
    {
      imports = [ modules.ssh ];
      workspace = {
        name = "alice";
        owner = "alice.b@my-acme.example";
      };
      # In containers sshd runs without PAM, and takes an account that never had a password
      # for a locked one.
      users.users.alice-b.hashedPassword = "*";
      environment.etc = lib.genAttrs' [ "alice_b_my-acme_example" "ext_alice_b_my-acme_example" ] (
        name:
        lib.nameValuePair "userdb/${name}.user-privileged" {
          mode = "0600";
          text = builtins.toJSON { privileged.hashedPassword = [ "*" ]; };
        }
      );
      networking.hosts.${containers.google.networking.primaryIPAddress} = [ "metadata.google.internal" ];
    };

  containers.client =
    { pkgs, ... }:
    {
      environment.systemPackages = [ pkgs.openssh ];
    };

  testScript = ''
    import json
    import time

    start_all()
    google.wait_for_unit("multi-user.target")
    client.wait_for_unit("multi-user.target")
    workspace.wait_for_unit("multi-user.target")

    keys = {}
    for name in ["owner", "expired", "lasting", "stranger"]:
        client.succeed(f"ssh-keygen -q -t ed25519 -N ''' -f ~/{name}")
        keys[name] = client.succeed(f"cat ~/{name}.pub").strip()

    def usec(seconds):
        return str(int((time.time() + seconds) * 1_000_000))

    owner = {
        "name": "314159265358979323846",
        "keys": [
            {"key": keys["owner"]},
            {"key": keys["expired"], "expirationTimeUsec": usec(-60)},
            {"key": keys["lasting"], "expirationTimeUsec": usec(3600)},
        ],
    }
    stranger = {"name": "271828182845904523536", "keys": [{"key": keys["stranger"]}]}

    def world(profiles, login):
        text = json.dumps({"profiles": profiles, "login": login})
        google.succeed(f"cat > /run/world.json <<'END'\n{text}\nEND")

    def ssh(user, key, command="true"):
        return client.execute(
            "ssh -o BatchMode=yes -o StrictHostKeyChecking=accept-new -o IdentitiesOnly=yes -o ConnectTimeout=60 "
            f"-i ~/{key} {user}@workspace '{command}' 2>&1"
        )

    def refused(user, key):
        status, output = ssh(user, key)
        assert status == 255 and "Permission denied (publickey)" in output, (user, key, status, output)

    world({"alice_b_my-acme_example": owner, "bob_my-acme_example": stranger}, [owner["name"]])
    google.wait_for_unit("metadata.service")
    google.wait_for_open_port(80)
    workspace.wait_for_open_port(22)

    with subtest("by gcloud's name and by its own the owner reaches the one account, with its groups"):
        for user in ["alice_b_my-acme_example", "alice-b"]:
            status, output = ssh(user, "owner", "id --user; id --user --name; id --groups --name; pwd; echo $USER $LOGNAME; echo $HOME")
            uid, name, groups, directory, names, home = output.strip().split("\n")[-6:]
            assert status == 0 and (uid, name, directory, home) == ("1000", "alice-b", "/home/alice-b", "/home/alice-b"), output
            assert names == "alice-b alice-b" and "wheel" in groups.split(), output
        assert ssh("alice_b_my-acme_example", "lasting")[0] == 0

    with subtest("the other name is one by name alone"):
        assert workspace.succeed("getent passwd 1000").startswith("alice-b:")

    with subtest("an expired key does not"):
        refused("alice_b_my-acme_example", "expired")
        refused("alice-b", "expired")

    with subtest("a stranger does not, by any name"):
        for user in ["alice_b_my-acme_example", "alice-b", "bob_my-acme_example", "root", "nobody"]:
            refused(user, "stranger")

    with subtest("a key in the home does not let anybody in"):
        workspace.succeed(
            "install --directory --owner=alice-b --mode=700 /home/alice-b/.ssh",
            f"echo '{keys['stranger']}' > /home/alice-b/.ssh/authorized_keys",
            "chown alice-b /home/alice-b/.ssh/authorized_keys",
        )
        refused("alice-b", "stranger")

    with subtest("nobody is root from the start"):
        refused("root", "owner")

    with subtest("without IAM's leave the owner does not get in, and the log says so"):
        world({"alice_b_my-acme_example": owner}, [])
        refused("alice_b_my-acme_example", "owner")
        refused("alice-b", "owner")
        assert "IAM does not let alice_b_my-acme_example log in" in workspace.succeed("journalctl --identifier workspace-ssh-keys")

    with subtest("a name of an account that is said to be of another person is not the owner's"):
        world({"alice_b_my-acme_example": {**stranger, "name": "alice-b@my-acme.example"}}, ["alice-b@my-acme.example"])
        refused("alice_b_my-acme_example", "stranger")
        world({"ext_alice_b_my-acme_example": {**owner, "name": "Alice.B@my-acme.example"}}, ["Alice.B@my-acme.example"])
        assert ssh("ext_alice_b_my-acme_example", "owner")[0] == 0
        assert ssh("alice-b", "owner")[0] == 0

    with subtest("without the metadata server nobody gets in, and sshd answers"):
        google.succeed("systemctl stop metadata")
        refused("alice_b_my-acme_example", "owner")
        refused("alice-b", "owner")
        assert "the metadata server did not answer" in workspace.succeed("journalctl --identifier workspace-ssh-keys")
        google.succeed("systemctl start metadata")
        google.wait_for_open_port(80)
        assert ssh("alice-b", "owner")[0] == 0

    with subtest("the key by which the machine is known is where it lasts"):
        known = client.succeed("ssh-keyscan -t ed25519 workspace 2>/dev/null").split()[-1]
        assert known in workspace.succeed("cat /var/lib/workspace-ssh/ssh_host_ed25519_key.pub")
  '';
}
