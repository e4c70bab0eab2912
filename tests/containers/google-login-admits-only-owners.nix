# With `login = "google"` the owner gets in, and who is listed, by a confirmed address: nobody
# else of their domain does. The OAuth client is read from Secret Manager, Google's tokens go
# neither to the browser nor to what runs here, and signing out ends the session.
{ modules }:
let
  domain = "alice.endpoints.acme-data-science.cloud.goog";
  clientId = "1234.apps.googleusercontent.com";
  clientSecret = "GOCSPX-poison";
in
{
  name = "google-login-admits-only-owners";

  # Google's accounts as well, at another port.
  containers.google =
    { pkgs, ... }:
    {
      imports = [ ../common/google.nix ];
      networking.firewall.allowedTCPPorts = [ 8080 ];
      systemd.services.accounts = {
        wantedBy = [ "multi-user.target" ];
        serviceConfig.ExecStart = "${pkgs.python3}/bin/python3 ${../common/openid-provider.py} 8080 ${clientId} ${clientSecret} https://${domain}/oauth2/callback";
      };
    };

  containers.workspace =
    {
      containers,
      lib,
      pkgs,
      ...
    }:
    {
      networking.hosts.${containers.google.networking.primaryIPAddress} = [ "accounts.example" ];
      imports = [
        modules.gateway
        ../common/password-login.nix
        (import ../common/asks-google.nix "workspace-login-secret")
      ];
      workspace.gateway = {
        login = "google";
        allowedEmails = [ "Bob.Builder@acme.example" ];
        htpasswdFile = lib.mkForce null;
      };
      workspace.apps.echo.port = 9000;
      # The same requests that Google would get.
      services.oauth2-proxy = {
        loginURL = "http://accounts.example:8080/authorize";
        redeemURL = "http://accounts.example:8080/token";
        validateURL = "http://accounts.example:8080/tokeninfo";
      };
      systemd.services.echo = {
        wantedBy = [ "multi-user.target" ];
        serviceConfig.ExecStart = "${
          pkgs.python3.withPackages (python: [ python.aiohttp ])
        }/bin/python3 ${../common/echo.py} 9000";
      };
      # The test says when.
      systemd.timers.workspace-login-secret.wantedBy = lib.mkForce [ ];
    };

  containers.client =
    { containers, pkgs, ... }:
    {
      networking.hosts = {
        ${containers.workspace.networking.primaryIPAddress} = [ domain ];
        ${containers.google.networking.primaryIPAddress} = [ "accounts.example" ];
      };
      environment.systemPackages = [ pkgs.curl ];
    };

  testScript = builtins.readFile ../common/browser.py + ''
    import json

    site = "https://${domain}"
    browser = Browser(client, site)

    def set_client(value):
        google.succeed(f"printf %s '{value}' > /run/new; mv /run/new /run/secrets/workspace-alice-oauth-client")

    def account(email, more=""):
        """Another browser, signed in at Google as `email` and not at the workspace."""
        browser.forget()
        assert browser.status(f"http://accounts.example:8080/account?email={email}{more}") == "204 "

    def sign_in_as(email, more="", rd="/apps/echo/"):
        """Through Google and back; the status of where that ends."""
        account(email, more)
        return browser.status(f"/oauth2/start?rd={rd}", "--location")

    start_all()
    google.wait_for_unit("secret-manager.service")
    google.wait_for_open_port(80)
    google.wait_for_open_port(8080)
    workspace.wait_for_unit("nginx.service")
    client.wait_for_unit("multi-user.target")

    with subtest("without an OAuth client there is no login, which is no failure"):
        workspace.succeed("systemctl start workspace-login-secret")
        assert "no version of workspace-alice-oauth-client" in workspace.succeed("journalctl --unit workspace-login-secret")
        assert browser.status("/edit/").startswith("503")
        assert "alice is not ready" in browser.page()
        assert workspace.succeed("systemctl --failed --no-legend") == ""

    with subtest("something else than a client is refused with what it should be"):
        set_client(json.dumps({"installed": {"client_id": "x"}}))
        workspace.fail("systemctl start workspace-login-secret")
        assert "is not the JSON file that Google's console offers" in workspace.succeed("journalctl --unit workspace-login-secret")

    with subtest("with one there is"):
        set_client(json.dumps({"web": {"client_id": "${clientId}", "client_secret": "${clientSecret}"}}))
        workspace.succeed("systemctl start workspace-login-secret")
        browser.wait_for_login()
        assert browser.status("/edit/") == f"302 {site}/oauth2/sign_in?rd=/edit/"
        browser.status("/oauth2/sign_in")
        assert "Sign in with Google" in browser.page() and "password" not in browser.page()
        assert browser.sign_in().startswith(("401", "403", "302 http://accounts.example:8080/", "200")) and not browser.signed_in()

    with subtest("the owner gets in, to where they were going"):
        assert sign_in_as("alice@acme.example") == "200 ", browser.page()
        assert json.loads(browser.page())["path"] == "/apps/echo/"
        assert browser.signed_in()

    with subtest("with a cookie for this host alone, that no script reads and no foreign page sends"):
        account("alice@acme.example")
        cookies = browser.run("/oauth2/start?rd=/", "--location --dump-header - --output /dev/null")
        [cookie] = [line for line in cookies.splitlines() if line.lower().startswith("set-cookie: __host-workspace=")]
        attributes = {part.strip().lower() for part in cookie.split(";")[1:]}
        assert {"path=/", "secure", "httponly", "samesite=lax"} <= attributes, cookie
        assert not any(attribute.startswith("domain") for attribute in attributes), cookie
        assert len(cookie) < 1000, "Google's tokens are in it?"

    with subtest("the servers behind the login see no token and no session"):
        client.succeed("sed 's/__Host-workspace/mine/' /tmp/cookies >> /tmp/cookies")
        headers = json.loads(browser.run("/apps/echo/"))["headers"]
        assert headers["Cookie"].startswith("mine=") and "__Host" not in headers["Cookie"], headers
        assert "poison" not in json.dumps(headers) and "Authorization" not in headers, headers

    with subtest("who is listed gets in, whatever the case of the address"):
        assert sign_in_as("bob.builder@acme.example") == "200 "
        assert browser.signed_in()

    with subtest("nobody else does"):
        for email in [
            "carol@acme.example",
            "alice@evil.example",
            "alice@acme.example.evil.example",
            "xalice@acme.example",
            "alice%2Bx@acme.example",
        ]:
            assert sign_in_as(email) == "403 ", email
            assert not browser.signed_in(), email
            assert browser.status("/apps/echo/").startswith("302"), email

    with subtest("not even the owner by an address that nobody has confirmed"):
        status = sign_in_as("alice@acme.example", "&unverified=1")
        assert status in ["403 ", "500 "], status
        assert not browser.signed_in()

    with subtest("nor with a code or a state of somebody else's"):
        account("alice@acme.example")
        led = browser.status("/oauth2/start?rd=/").split(" ")[1]
        callback = browser.status(led).split(" ")[1]
        assert callback.startswith(f"{site}/oauth2/callback?code="), callback
        browser.forget()
        assert browser.status(callback).startswith("403"), "a browser that did not begin"
        assert browser.status("/oauth2/callback?code=guess&state=guess") in ["403 ", "500 "]
        assert not browser.signed_in()

    with subtest("it leads back to this workspace and nowhere else"):
        for rd in ["https://evil.example/", "//evil.example/", "/%5Cevil.example/", "http://accounts.example:8080/"]:
            account("alice@acme.example")
            answer = browser.run(f"/oauth2/start?rd={rd}", "--location --output /dev/null --write-out '%{url_effective}'")
            assert answer.startswith(site), (rd, answer)

    with subtest("a session survives a restart of the login, and ends with signing out"):
        assert sign_in_as("alice@acme.example") == "200 "
        workspace.succeed("systemctl restart oauth2-proxy")
        browser.wait_for_login()
        assert browser.signed_in()
        assert browser.status("/oauth2/sign_out") == f"302 {site}/"
        assert not browser.signed_in()
        assert browser.status("/") == f"302 {site}/oauth2/sign_in?rd=/"

    with subtest("another client is put to use"):
        before = workspace.succeed("systemctl show --property=InvocationID oauth2-proxy")
        set_client(json.dumps({"web": {"client_id": "another", "client_secret": "${clientSecret}-2"}}))
        workspace.succeed("systemctl start workspace-login-secret")
        workspace.wait_until_succeeds(f"test \"$(systemctl show --property=InvocationID oauth2-proxy)\" != {before.strip()}", timeout=30)
        browser.wait_for_login()
        assert "client_id=another" in browser.status("/oauth2/start?rd=/")

    with subtest("secrets and tokens are in memory, and nowhere else"):
        for secret in ["${clientSecret}", "poison-access-token", "poison token"]:
            workspace.fail(f"journalctl --no-pager | grep '{secret}'")
            workspace.fail(f"grep --recursive --quiet '{secret}' /var/lib/workspace-login /etc")
            workspace.fail(f"cat /proc/[0-9]*/cmdline | tr '\\0' '\\n' | grep '^{secret}'")
        workspace.succeed("findmnt --noheadings --output FSTYPE --target /run/workspace-login | grep tmpfs")
        workspace.succeed("test $(stat --format=%U:%a /run/workspace-login) = oauth2-proxy:700")
  '';
}
