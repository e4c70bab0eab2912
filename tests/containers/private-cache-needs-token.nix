# The bucket answers to the machine's account alone, and Nix needs to know of no token: the agent
# adds it, on an address that only this machine reaches.
{ modules }:
import ../common/fleet-of-one.nix {
  inherit modules;
  name = "private-cache-needs-token";

  next.good.environment.etc.patched.text = "yes";

  testScript = ''
    status = "curl --silent --output /dev/null --write-out '%{http_code}' --max-time 5"
    upload("good")

    with subtest("without a token the bucket refuses, through the agent it does not"):
        assert workspace.succeed(f"{status} 'http://google/storage/v1/b/cache/o/nix-cache-info?alt=media'") == "401"
        assert workspace.succeed(f"{status} http://127.0.0.1:8451/nix-cache-info") == "200"
        assert workspace.succeed(f"{status} --head http://127.0.0.1:8451/nix-cache-info") == "200"

    with subtest("it is a cache and nothing else"):
        assert workspace.succeed(f"{status} http://127.0.0.1:8451/other") == "404"
        assert workspace.succeed(f"{status} --path-as-is http://127.0.0.1:8451/nar/../../secret") == "404"
        assert workspace.succeed(f"{status} --data x http://127.0.0.1:8451/nix-cache-info") == "405"

    with subtest("nobody else reaches it"):
        google.fail("curl --silent --max-time 5 http://workspace:8451/nix-cache-info")
        assert workspace.succeed("ss --listening --tcp --numeric --no-header 'sport = :8451' | awk '{ print $4 }'").split() == ["127.0.0.1:8451"]

    with subtest("the system comes that way"):
        want("good")
        wait_for_state("current")
        assert running() == SYSTEMS["good"]

    with subtest("the token is in no log, file or list of processes"):
        workspace.fail("journalctl --no-pager | grep poison-token")
        workspace.fail("grep --recursive --quiet poison-token /var/lib/workspace-agent /etc /run/systemd")
  '';
}
