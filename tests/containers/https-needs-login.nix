# A public workspace gets a real certificate, and answers nothing to anybody who has
# not logged in. Whoever has reaches the editor, its page and its websocket.
{ modules }:
let
  domain = "alice.endpoints.acme-data-science.cloud.goog";
  owner = "alice@acme.example";
  password = "correct horse battery staple";
in
{
  name = "https-needs-login";

  containers.acme =
    {
      containers,
      lib,
      modulesPath,
      ...
    }:
    {
      imports = [ "${modulesPath}/../tests/common/acme/server" ];
      # Whose certificates to resolve: these machines', not those of qemu.
      _module.args.nodes = lib.mkForce containers;
    };

  containers.workspace =
    { containers, pkgs, ... }:
    {
      imports = [
        modules.gateway
        modules.ide
        ../common/refusing-firewall.nix
      ];
      workspace = {
        name = "alice";
        inherit domain owner;
        gateway = {
          acmeEmail = "ops@acme.example";
          acmeServer = "https://${containers.acme.test-support.acme.caDomain}/dir";
          htpasswdFile = "/run/htpasswd";
        };
      };
      security.pki.certificateFiles = [ containers.acme.test-support.acme.caCert ];
      systemd.services.htpasswd = {
        requiredBy = [ "oauth2-proxy.service" ];
        before = [ "oauth2-proxy.service" ];
        path = [ pkgs.mkpasswd ];
        serviceConfig.Type = "oneshot";
        script = ''
          printf '%s:%s\n' '${owner}' "$(echo -n '${password}' | mkpasswd --stdin --method=bcrypt)" > /run/htpasswd
          chmod 644 /run/htpasswd
        '';
      };
    };

  containers.client =
    { containers, pkgs, ... }:
    {
      networking.hosts.${containers.workspace.networking.primaryIPAddress} = [ domain ];
      environment.systemPackages = [
        pkgs.curl
        (pkgs.python3.withPackages (python: [ python.websockets ]))
      ];
      environment.etc."editor-websocket.py".source = ../common/editor-websocket.py;
      environment.etc."open-ports.py".source = ../common/open-ports.py;
    };

  testScript = ''
    site = "https://${domain}"
    curl = "curl --silent --show-error --cacert /tmp/ca.crt --max-time 20"

    def status_of(url, more=""):
        return client.succeed(f"{curl} {more} --output /dev/null --write-out '%{{http_code}} %{{redirect_url}}' '{url}'")

    def sign_in(password, rd="/edit/"):
        return client.succeed(
            f"{curl} --cookie-jar /tmp/cookies --output /tmp/answer --write-out '%{{http_code}} %{{redirect_url}}' "
            f"--data-urlencode username=${owner} --data-urlencode 'password={password}' --data-urlencode 'rd={rd}' {site}/oauth2/sign_in"
        )

    workspace.start()
    client.start()
    workspace.wait_for_unit("multi-user.target")
    client.wait_for_unit("multi-user.target")

    with subtest("before there is a certificate nginx has one of its own"):
        client.wait_until_succeeds(f"curl --silent --insecure --output /dev/null {site}/", timeout=60)

    with subtest("the certificate is from the certificate authority"):
        acme.start()
        acme.wait_for_unit("pebble.service")
        acme.wait_for_open_port(443)
        client.wait_until_succeeds("curl --silent --fail --insecure https://acme.test:15000/roots/0 > /tmp/ca.crt", timeout=60)
        client.fail(f"{curl} --output /dev/null {site}/")
        workspace.succeed("systemctl start acme-order-renew-${domain}.service")
        client.wait_until_succeeds(f"{curl} --output /dev/null {site}/", timeout=120)

    with subtest("HTTP leads to HTTPS"):
        assert status_of("http://${domain}/edit/?a=b") == f"301 {site}/edit/?a=b"

    workspace.wait_for_unit("oauth2-proxy.service")
    client.wait_until_succeeds(f"{curl} --fail --output /dev/null {site}/oauth2/sign_in", timeout=60)

    with subtest("without a session every path leads to the login"):
        for path in ["/", "/edit/", "/edit/?folder=/home/alice&x=1", "/apps/jupyter/", "/index.html", "/oauth2x"]:
            assert status_of(site + path) == f"302 {site}/oauth2/sign_in?rd={path}", path
        client.fail("python3 /etc/editor-websocket.py ${domain} none")

    with subtest("the login page offers a password and nothing else"):
        page = client.succeed(f"{curl} '{site}/oauth2/sign_in?rd=/edit/?folder=/home/alice&x=1'")
        assert 'type="password"' in page and "Google" not in page, page
        assert 'value="/edit/?folder=/home/alice&amp;x=1"' in page, page
        assert status_of(f"{site}/oauth2/start") == "404 "
        assert status_of(f"{site}/oauth2/callback?code=x&state=y") == "404 "

    with subtest("bad news is on the login page, and only then"):
        assert 'class="notice"' not in page and "<!--#" not in page and 'id="notice"' not in page, page
        workspace.succeed("mkdir -p /run/workspace", "echo '<p class=\"notice\">bad news</p>' > /run/workspace/notice.html")
        assert '<p class="notice">bad news</p>' in client.succeed(f"{curl} {site}/oauth2/sign_in"), "no notice"
        workspace.succeed("rm /run/workspace/notice.html")
        assert status_of(f"{site}/.workspace/notice.html") == "404 "

    with subtest("a wrong password is refused"):
        assert sign_in("wrong") == "401 "
        assert "That password is not right" in client.succeed("cat /tmp/answer")
        assert "__Host-workspace" not in client.succeed("cat /tmp/cookies")

    with subtest("the right one reaches the editor"):
        workspace.wait_for_unit("openvscode-server.service")
        assert sign_in("${password}") == f"302 {site}/edit/"
        assert status_of(f"{site}/", "--cookie /tmp/cookies") == f"302 {site}/edit/"
        editor = client.succeed(f"{curl} --fail --location --cookie /tmp/cookies {site}/edit/")
        assert "vscode-workbench-web-configuration" in editor, editor[:2000]

    with subtest("and a websocket of it"):
        cookie = client.succeed("awk '/__Host-workspace/ { print $6 \"=\" $7 }' /tmp/cookies").strip()
        client.succeed(f"python3 /etc/editor-websocket.py ${domain} '{cookie}'")
        client.succeed(f"python3 /etc/editor-websocket.py ${domain} '{cookie}' {site}")

    with subtest("but not from somebody else's page in the same browser"):
        for origin in ["https://bob.endpoints.acme-data-science.cloud.goog", f"{site}.evil.example", "null"]:
            refusal = client.fail(f"python3 /etc/editor-websocket.py ${domain} '{cookie}' {origin} 2>&1")
            assert "HTTP 403" in refusal, refusal

    with subtest("the editor runs as the owner"):
        workspace.succeed("test $(systemctl show --property=User --value openvscode-server) = alice")
        workspace.succeed("test $(stat --format=%U /run/workspace-ide/editor.sock) = alice")
        workspace.fail("runuser -u nobody -- test -x /run/workspace-ide")

    with subtest("an editor that does not run is told as such"):
        workspace.succeed("systemctl stop openvscode-server")
        assert "alice is not ready" in client.succeed(f"{curl} --cookie /tmp/cookies {site}/edit/")
        workspace.succeed("systemctl start openvscode-server")
        client.succeed(f"{curl} --fail --output /dev/null --cookie /tmp/cookies {site}/edit/")

    with subtest("another name or the bare address gets no answer"):
        address = client.succeed("getent hosts ${domain} | awk '{ print $1 }'").strip()
        client.fail(f"curl --silent --insecure --max-time 5 https://{address}/")
        client.fail(f"curl --silent --max-time 5 http://{address}/")
        client.fail(f"curl --silent --fail --insecure --max-time 5 --header 'Host: evil.example' {site}/oauth2/sign_in")

    with subtest("nothing else listens"):
        assert client.succeed(f"python3 /etc/open-ports.py {address}").split() == ["80", "443"]

    with subtest("a password in a header is no way in"):
        for path in ["/edit/", "/oauth2/auth", "/oauth2/userinfo"]:
            status = status_of(site + path, "--user '${owner}:${password}'")
            assert status.startswith("302 ") and "/oauth2/sign_in" in status or status == "401 ", (path, status)

    with subtest("guessing is slow"):
        guesses = [sign_in("wrong") for _ in range(30)]
        assert guesses.count("429 ") >= 5, guesses
        assert status_of(f"{site}/oauth2/sign_in") == "200 "

    with subtest("no unit failed"):
        assert workspace.succeed("systemctl --failed --no-legend") == ""
  '';
}
