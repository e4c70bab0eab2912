# A public workspace gets a real certificate, and answers nothing to anybody who has not logged
# in. Whoever has reaches its page and the editor, with its websocket, until they sign out.
{ modules }:
let
  domain = "alice.endpoints.acme-data-science.cloud.goog";
in
{
  name = "https-needs-login";

  containers.acme = ../common/certificate-authority.nix;

  containers.workspace.imports = [
    modules.gateway
    modules.ide
    ../common/password-login.nix
    ../common/orders-certificate.nix
  ];

  containers.client =
    { containers, pkgs, ... }:
    {
      networking.hosts.${containers.workspace.networking.primaryIPAddress} = [ domain ];
      environment.systemPackages = [
        pkgs.curl
        pkgs.openssl
        (pkgs.python3.withPackages (python: [ python.websockets ]))
      ];
      environment.etc."editor-websocket.py".source = ../common/editor-websocket.py;
    };

  testScript = builtins.readFile ../common/browser.py + ''
    site = "https://${domain}"

    acme.start()
    client.start()
    acme.wait_for_unit("pebble.service")
    acme.wait_for_open_port(443)
    client.wait_until_succeeds("curl --silent --fail --insecure https://acme.test:15000/roots/0 > /tmp/ca.crt", timeout=60)
    workspace.start()
    browser = Browser(client, site, "--cacert /tmp/ca.crt")

    with subtest("the certificate is from the certificate authority"):
        client.wait_until_succeeds(f"{browser.curl} --output /dev/null {site}/", timeout=120)

    with subtest("HTTP leads to HTTPS"):
        assert browser.status("http://${domain}/edit/?a=b") == f"301 {site}/edit/?a=b"

    browser.wait_for_login()

    with subtest("HTTP/2, modern TLS only, and a browser that came once never comes by HTTP again"):
        assert browser.run("/oauth2/sign_in", "--output /dev/null --write-out '%{http_version}'") == "2"
        for version in ["tls1", "tls1_1"]:
            refusal = client.fail(f"openssl s_client -{version} -cipher 'DEFAULT:@SECLEVEL=0' -connect ${domain}:443 -servername ${domain} </dev/null 2>&1")
            assert "alert protocol version" in refusal, refusal
        for version in ["tls1_2", "tls1_3"]:
            client.succeed(f"openssl s_client -{version} -connect ${domain}:443 -servername ${domain} </dev/null")
        for path in ["/", "/oauth2/sign_in", "/edit/"]:
            headers = browser.run(path, "--head").lower()
            assert "strict-transport-security: max-age=31536000\n" in headers, (path, headers)

    with subtest("without a session every path leads to the login"):
        for path in ["/", "/edit/", "/edit/?folder=/home/alice&x=1", "/apps/jupyter/", "/index.html", "/oauth2x"]:
            assert browser.status(path) == f"302 {site}/oauth2/sign_in?rd={path}", path
        client.fail("python3 /etc/editor-websocket.py ${domain} none")

    with subtest("the login page offers a password and nothing else"):
        page = browser.run("/oauth2/sign_in?rd=/edit/?folder=/home/alice&x=1")
        assert 'type="password"' in page and "Google" not in page, page
        assert 'value="/edit/?folder=/home/alice&amp;x=1"' in page, page
        assert browser.status("/oauth2/start") == "404 "
        assert browser.status("/oauth2/callback?code=x&state=y") == "404 "

    with subtest("bad news is on the login page, and only then"):
        assert 'class="notice"' not in page and "<!--#" not in page and 'id="notice"' not in page, page
        workspace.succeed("mkdir -p /run/workspace", "echo '<p class=\"notice\">bad news</p>' > /run/workspace/notice.html")
        assert '<p class="notice">bad news</p>' in browser.run("/oauth2/sign_in"), "no notice"
        workspace.succeed("rm /run/workspace/notice.html")
        assert browser.status("/.workspace/notice.html") == "404 "

    with subtest("a wrong password is refused"):
        assert browser.sign_in("wrong") == "401 "
        assert "That password is not right" in browser.page()
        assert "__Host-workspace" not in client.succeed("cat /tmp/cookies")

    with subtest("the right one reaches the editor"):
        workspace.wait_for_unit("openvscode-server.service")
        assert browser.sign_in() == f"302 {site}/edit/"
        editor = browser.run("/edit/", "--fail --location")
        assert "vscode-workbench-web-configuration" in editor, editor[:2000]

    with subtest("and the workspace's page, which leads to the editor and out"):
        workspace.succeed("echo '<p class=\"notice\">bad news</p>' > /run/workspace/notice.html")
        page = browser.run("/", "--fail")
        workspace.succeed("rm /run/workspace/notice.html")
        for part in ["<h1>alice</h1>", "alice@acme.example", 'href="/edit/"', ">Editor<", 'href="/oauth2/sign_out"', "bad news"]:
            assert part in page, (part, page)
        page = browser.run("/", "--fail")
        assert "notice\"" not in page and "<!--#" not in page, page

    with subtest("and a websocket of it"):
        cookie = client.succeed("awk '/__Host-workspace/ { print $6 \"=\" $7 }' /tmp/cookies").strip()
        client.succeed(f"python3 /etc/editor-websocket.py ${domain} '{cookie}'")
        client.succeed(f"python3 /etc/editor-websocket.py ${domain} '{cookie}' {site}")

    with subtest("but not from somebody else's page in the same browser"):
        for origin in ["https://bob.endpoints.acme-data-science.cloud.goog", f"{site}.evil.example", "null"]:
            refusal = client.fail(f"python3 /etc/editor-websocket.py ${domain} '{cookie}' {origin} 2>&1")
            assert "HTTP 403" in refusal, refusal

    with subtest("the session is a cookie for this host alone, that no script reads and no foreign page sends"):
        headers = browser.run(
            "/oauth2/sign_in",
            "--data-urlencode username=alice@acme.example --data-urlencode 'password=correct horse battery staple' --dump-header - --output /dev/null",
        )
        [line] = [line for line in headers.splitlines() if line.lower().startswith("set-cookie: __host-workspace=")]
        attributes = {part.strip().lower() for part in line.split(";")[1:]}
        assert {"path=/", "secure", "httponly", "samesite=lax"} <= attributes, line
        assert not any(attribute.startswith("domain") for attribute in attributes), line

    with subtest("signing out ends it"):
        assert browser.signed_in()
        assert browser.status("/oauth2/sign_out") == f"302 {site}/"
        assert not browser.signed_in()
        assert browser.status("/") == f"302 {site}/oauth2/sign_in?rd=/"

    with subtest("an emptied state ends them all"):
        assert browser.sign_in().startswith("302")
        workspace.succeed("systemctl restart workspace-login-prepare")
        browser.wait_for_login()
        assert browser.signed_in()
        workspace.succeed("rm /var/lib/workspace-login/*", "systemctl restart workspace-login-prepare")
        browser.wait_for_login()
        assert not browser.signed_in()

    with subtest("the editor runs as the owner"):
        workspace.succeed("test $(systemctl show --property=User --value openvscode-server) = alice")
        workspace.succeed("test $(stat --format=%U /run/workspace-servers/openvscode-server.sock) = alice")
        workspace.fail("runuser -u nobody -- test -x /run/workspace-servers")

    with subtest("an editor that does not run is told as such"):
        assert browser.sign_in().startswith("302")
        workspace.succeed("systemctl stop openvscode-server")
        assert browser.status("/edit/") == "503 "
        assert "alice is not ready" in browser.page()
        workspace.succeed("systemctl start openvscode-server")
        browser.run("/edit/", "--fail --output /dev/null")

    with subtest("another name or the bare address gets no answer"):
        address = client.succeed("getent hosts ${domain} | awk '{ print $1 }'").strip()
        client.fail(f"curl --silent --insecure --max-time 5 https://{address}/")
        client.fail(f"curl --silent --max-time 5 http://{address}/")
        client.fail(f"curl --silent --fail --insecure --max-time 5 --header 'Host: evil.example' {site}/oauth2/sign_in")

    with subtest("a password in a header is no way in"):
        browser.forget()
        for path in ["/edit/", "/oauth2/auth", "/oauth2/userinfo"]:
            status = browser.status(path, "--user 'alice@acme.example:correct horse battery staple'")
            assert status.startswith("302 ") and "/oauth2/sign_in" in status or status == "401 ", (path, status)

    with subtest("no unit failed"):
        assert workspace.succeed("systemctl --failed --no-legend") == ""
  '';
}
