# The owner runs containers without sudo. They live through a restart of docker, a weekly
# prune and a switch, and what they publish is not open to the network.
{ modules }:
{
  name = "docker-runs-for-owner";

  nodes.machine =
    { lib, pkgs, ... }:
    {
      imports = [ modules.containers ];
      workspace = {
        name = "alice";
        owner = "alice@acme.example";
      };
      virtualisation.memorySize = 2048;
      networking.useDHCP = false;
      environment.systemPackages = [ pkgs.curl ];
      # Nothing can be pulled here: an image of one static program.
      environment.etc."web.tar".source = pkgs.runCommand "web.tar" { } ''
        mkdir --parents web/bin web/www
        cp ${pkgs.pkgsStatic.busybox}/bin/busybox web/bin/
        echo hello > web/www/index.html
        tar --create --file $out --directory web .
      '';
      specialisation.changed.configuration.virtualisation.docker.daemon.settings.debug = lib.mkForce true;
    };

  testScript = ''
    def docker(command):
        return machine.succeed(f"runuser -u alice -- docker {command}").strip()

    def serve(name, options):
        docker(f"run --detach --name {name} {options} web /bin/busybox httpd -f -p 80 -h /www")

    machine.start()
    machine.wait_for_unit("multi-user.target", timeout=900)
    machine.wait_for_unit("docker.service", timeout=300)
    # An address of the machine beside loopback's and docker's, as others see it.
    address = "192.0.2.1"
    machine.succeed(f"ip address add {address}/32 dev lo")

    with subtest("the owner runs a container without sudo, others do not"):
        docker("import /etc/web.tar web")
        assert docker("run --rm web /bin/busybox echo it runs") == "it runs"
        machine.fail("runuser -u nobody -- docker ps")

    with subtest("what is published is on this machine alone"):
        docker("network create own")
        serve("web", "--publish 8080:80")
        serve("own", "--publish 8081:80 --network own")
        serve("open", "--publish 0.0.0.0:8082:80")
        for port in [8080, 8081, 8082]:
            assert machine.wait_until_succeeds(f"curl --silent --fail http://127.0.0.1:{port}/", timeout=60) == "hello\n"
        # As the third shows, this is how an open port would look.
        assert machine.succeed(f"curl --silent --fail http://{address}:8082/") == "hello\n"
        for port in [8080, 8081]:
            machine.fail(f"curl --silent --max-time 20 http://{address}:{port}/")
        listening = [line.split()[3] for line in machine.succeed("ss --listening --tcp --numeric --no-header").strip().split("\n")]
        assert {"127.0.0.1:8080", "127.0.0.1:8081"} <= set(listening), listening

    with subtest("a container lives through a restart of docker"):
        started = docker("inspect --format '{{ .State.Pid }} {{ .State.StartedAt }}' web")
        machine.succeed("systemctl restart docker.service")
        assert docker("inspect --format '{{ .State.Pid }} {{ .State.StartedAt }}' web") == started
        assert machine.succeed("curl --silent --fail http://127.0.0.1:8080/") == "hello\n"

    with subtest("a switch does not even restart docker"):
        pid = machine.succeed("systemctl show --property=MainPID --value docker.service")
        machine.succeed("/run/current-system/specialisation/changed/bin/switch-to-configuration test")
        assert "debug" in machine.succeed("systemctl cat docker.service | grep -o '/nix/store/[^ ]*daemon.json' | xargs cat")
        assert machine.succeed("systemctl show --property=MainPID --value docker.service") == pid
        assert docker("inspect --format '{{ .State.Pid }} {{ .State.StartedAt }}' web") == started

    with subtest("a prune takes what nobody can name, and leaves stopped containers and images"):
        docker("run --name stopped web /bin/busybox touch /work")
        docker("import /etc/web.tar web:spare")
        machine.succeed("runuser -u alice -- docker import /etc/web.tar > /tmp/nameless")
        machine.succeed("systemctl start docker-prune")
        assert set(docker("ps --all --format '{{ .Names }}'").split()) == {"web", "own", "open", "stopped"}
        docker("image inspect web:spare")
        machine.fail("docker image inspect $(cat /tmp/nameless)")
  '';
}
