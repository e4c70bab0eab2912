# Secrets are read while the machine runs, and are then where the login reads them and
# nowhere else: not in a path of the system's closure, a unit, a process's arguments, nor in
# the journal.
{ modules }:
let
  domain = "alice.endpoints.acme-data-science.cloud.goog";
  workspace = login: {
    imports = [
      modules.gateway
      modules.hardening
      (import ../common/asks-google.nix "workspace-login-secret")
    ];
    workspace = {
      name = "alice";
      owner = "alice@acme.example";
      inherit domain;
      gateway = {
        acmeEmail = "ops@acme.example";
        inherit login;
      };
    };
    security.acme.defaults.server = "https://127.0.0.1:1/";
  };
in
{ config, hostPkgs, ... }:
let
  closure =
    machine:
    hostPkgs.closureInfo { rootPaths = [ config.containers.${machine}.system.build.toplevel ]; };
in
{
  name = "secrets-never-in-store";

  containers.google = ../common/google.nix;
  containers.password = workspace "password";
  containers.oauth = workspace "google";

  testScript = ''
    closures = {"password": "${closure "password"}/store-paths", "oauth": "${closure "oauth"}/store-paths"}
    secrets = {
        "workspace-alice-password": "poison-of-password",
        "workspace-alice-oauth-client": '{"web": {"client_id": "1.apps.googleusercontent.com", "client_secret": "poison-of-client"}}',
    }
    # Notes the arguments of every process that it gets to see, until told to stop.
    watch = """
    until [ -e /run/watched ]; do
      cat /proc/[0-9]*/cmdline 2> /dev/null | tr '\\\\0' '\\\\n'
    done | awk '!seen[$0]++' > /run/seen
    """

    start_all()
    google.wait_for_unit("secret-manager.service")
    google.wait_for_open_port(80)
    for name, secret in secrets.items():
        google.succeed(f"printf %s '{secret}' > /run/secrets/{name}")

    for machine in [password, oauth]:
        machine.wait_for_unit("multi-user.target")
        machine.succeed(f"cat > /run/watch <<'EOF'\n{watch}\nEOF")
        machine.succeed("systemd-run --unit=watch bash /run/watch")
        # What must be found, so that finding nothing means something.
        machine.succeed("sh -c 'sleep 1; true known-argument'")
        machine.succeed("systemctl restart workspace-login-secret")
        machine.wait_until_succeeds("systemctl is-active oauth2-proxy", timeout=60)
        machine.succeed("systemctl restart oauth2-proxy nginx")
        machine.wait_for_unit("oauth2-proxy.service")
        machine.succeed("touch /run/watched")
        machine.wait_until_fails("systemctl is-active watch", timeout=30)

    def cookie_secret(machine):
        return machine.succeed("cat /var/lib/workspace-login/cookie-secret-*").strip()

    for machine, poison in [(password, "poison-of-password"), (oauth, "poison-of-client")]:
        values = [poison, cookie_secret(machine), "poison token"]
        assert all(values)
        machine.succeed("cat > /run/poison <<'EOF'\n" + "\n".join(values) + "\nEOF")
        search = "grep --fixed-strings --file=/run/poison"

        with subtest(f"{machine.name}: the secret has arrived, where the login alone reads it"):
            assert machine.succeed("stat --format=%U:%a /run/workspace-login /var/lib/workspace-login").split() == ["oauth2-proxy:700"] * 2
            assert machine.name != "oauth" or machine.succeed(f"grep --recursive --files-with-matches {poison} /run/workspace-login") != ""

        with subtest(f"{machine.name}: no path of the closure holds one"):
            machine.succeed(f"xargs grep --recursive --quiet --fixed-strings ${domain} < {closures[machine.name]}")
            machine.fail(f"xargs {search} --recursive --files-with-matches < {closures[machine.name]} >&2")

        with subtest(f"{machine.name}: nor a unit"):
            machine.succeed("systemctl cat '*' > /run/units || true", "systemctl show '*' >> /run/units", "grep --quiet ExecStart=.*oauth2-proxy /run/units")
            machine.fail(f"{search} /run/units >&2")

        with subtest(f"{machine.name}: nor a process's arguments"):
            machine.succeed("grep --quiet known-argument /run/seen")
            machine.fail(f"{search} /run/seen >&2")

        with subtest(f"{machine.name}: nor the journal"):
            machine.succeed("journalctl --sync", "journalctl --output=export --no-pager > /run/logged", "grep --quiet oauth2-proxy /run/logged")
            machine.fail(f"{search} --text /run/logged >&2")
  '';
}
