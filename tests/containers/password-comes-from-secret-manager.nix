# The password of the login page is read from Secret Manager while the machine runs. It
# can be changed there, it reaches neither the store nor a log nor an argv, and nobody is
# let in as long as there is none.
{ modules }:
let
  domain = "alice.endpoints.acme-data-science.cloud.goog";
  owner = "alice@acme.example";
in
{
  name = "password-comes-from-secret-manager";

  containers.google = ../common/google.nix;

  containers.workspace =
    {
      lib,
      pkgs,
      ...
    }:
    {
      imports = [
        modules.gateway
        (import ../common/asks-google.nix "workspace-login-secret")
      ];
      workspace = {
        name = "alice";
        inherit domain owner;
        gateway.acmeEmail = "ops@acme.example";
      };
      # Where nothing is asked of a certificate authority.
      security.acme.defaults.server = "https://127.0.0.1:1/";
      environment.systemPackages = [ pkgs.curl ];
      # The test says when.
      systemd.timers.workspace-login-secret.wantedBy = lib.mkForce [ ];
      networking.hosts."127.0.0.1" = [ domain ];
    };

  testScript = ''
    def sign_in(password):
        return workspace.succeed(
            "curl --silent --insecure --cookie-jar /tmp/cookies --output /dev/null --write-out '%{http_code}' "
            f"--data-urlencode username=${owner} --data-urlencode 'password={password}' https://${domain}/oauth2/sign_in"
        )

    def set_password(password):
        google.succeed(f"printf %s '{password}' > /run/new; mv /run/new /run/secrets/workspace-alice-password")

    start_all()
    google.wait_for_unit("secret-manager.service")
    google.wait_for_open_port(80)
    workspace.wait_for_unit("oauth2-proxy.service")
    workspace.wait_for_unit("nginx.service")
    workspace.wait_until_succeeds("curl --silent --fail --insecure https://${domain}/oauth2/sign_in", timeout=60)

    with subtest("without a password nobody gets in, and the log says what to do"):
        workspace.succeed("systemctl start workspace-login-secret")
        assert "has no version of workspace-alice-password" in workspace.succeed("journalctl --unit workspace-login-secret")
        for guess in ["", "nobody", "password"]:
            assert sign_in(guess) in ["400", "401"], guess

    with subtest("a refusal is an error that says what Google said"):
        google.succeed("touch /run/secrets/workspace-alice-password.refused")
        workspace.fail("systemctl start workspace-login-secret")
        assert "answered 403 for workspace-alice-password: Permission denied" in workspace.succeed("journalctl --unit workspace-login-secret")
        google.succeed("rm /run/secrets/workspace-alice-password.refused")

    with subtest("the password is the one in Secret Manager"):
        set_password("poison one")
        workspace.succeed("systemctl start workspace-login-secret")
        workspace.wait_until_succeeds("journalctl --unit oauth2-proxy | grep -E 'reloading|resumed'", timeout=30)
        assert sign_in("poison one") == "302"
        assert sign_in("poison two") == "401"

    with subtest("a second look changes nothing"):
        before = workspace.succeed("stat --format='%i %Y' /run/workspace-login/htpasswd")
        workspace.succeed("systemctl start workspace-login-secret")
        assert workspace.succeed("stat --format='%i %Y' /run/workspace-login/htpasswd") == before

    with subtest("a session survives a new password and a restart, the old password does not"):
        assert sign_in("poison one") == "302"
        set_password("poison two")
        workspace.succeed("systemctl start workspace-login-secret", "systemctl restart oauth2-proxy")
        workspace.wait_until_succeeds("curl --silent --fail --insecure https://${domain}/oauth2/sign_in", timeout=60)
        workspace.succeed("curl --silent --fail --insecure --cookie /tmp/cookies https://${domain}/oauth2/auth")
        assert sign_in("poison one") == "401"
        assert sign_in("poison two") == "302"

    with subtest("an empty password is none"):
        set_password("")
        workspace.fail("systemctl start workspace-login-secret")
        assert "workspace-alice-password is empty" in workspace.succeed("journalctl --unit workspace-login-secret")
        assert sign_in("poison two") == "302"

    with subtest("a password that was taken back lets nobody in"):
        google.succeed("rm /run/secrets/workspace-alice-password")
        workspace.succeed("systemctl start workspace-login-secret")
        workspace.wait_until_succeeds("journalctl --unit oauth2-proxy --since -1min | grep -E 'reloading|resumed'", timeout=30)
        assert sign_in("poison two") == "401"

    with subtest("secrets are where only the login reads them"):
        workspace.succeed("test $(stat --format=%U:%a /run/workspace-login) = oauth2-proxy:700")
        workspace.succeed("test $(stat --format=%U:%a /var/lib/workspace-login) = oauth2-proxy:700")
        workspace.succeed("findmnt --noheadings --output FSTYPE --target /run/workspace-login | grep tmpfs")
        for secret in ["poison one", "poison two", "poison token"]:
            workspace.fail(f"journalctl --no-pager | grep '{secret}'")
            workspace.fail(f"grep --recursive --quiet '{secret}' /run/workspace-login /var/lib/workspace-login /etc")
  '';
}
