# What a client writes into the headers that proxies write (X-Forwarded-*, X-Real-IP,
# X-Auth-Request-* and their like) changes nothing: not who may enter, not where the login
# leads, not how often one may guess, not what the servers behind it are told, not the log.
{ modules }:
let
  domain = "alice.endpoints.acme-data-science.cloud.goog";
in
{
  name = "forged-forwarded-headers-are-ignored";

  containers.workspace =
    { pkgs, ... }:
    {
      imports = [
        modules.gateway
        ../common/password-login.nix
      ];
      workspace.apps.echo.port = 9000;
      systemd.services.echo = {
        wantedBy = [ "multi-user.target" ];
        serviceConfig.ExecStart = "${
          pkgs.python3.withPackages (python: [ python.aiohttp ])
        }/bin/python3 ${../common/echo.py} 9000";
      };
    };

  containers.client =
    { containers, pkgs, ... }:
    {
      networking.hosts.${containers.workspace.networking.primaryIPAddress} = [ domain ];
      environment.systemPackages = [ pkgs.curl ];
    };

  testScript = builtins.readFile ../common/browser.py + ''
    import json

    site = "https://${domain}"
    forged = {
        "Forwarded": "for=203.0.113.9;host=evil.example;proto=http",
        "True-Client-IP": "203.0.113.9",
        "X-Auth-Request-Access-Token": "forged",
        "X-Auth-Request-Email": "alice@acme.example",
        "X-Auth-Request-Groups": "admins",
        "X-Auth-Request-Preferred-Username": "alice",
        "X-Auth-Request-Redirect": "https://evil.example/",
        "X-Auth-Request-User": "alice",
        "X-Client-IP": "203.0.113.9",
        "X-Forwarded-Access-Token": "forged",
        "X-Forwarded-Email": "alice@acme.example",
        "X-Forwarded-For": "203.0.113.9",
        "X-Forwarded-Groups": "admins",
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Method": "OPTIONS",
        "X-Forwarded-Port": "80",
        "X-Forwarded-Preferred-Username": "alice",
        "X-Forwarded-Prefix": "/evil",
        "X-Forwarded-Proto": "http",
        "X-Forwarded-Server": "evil.example",
        "X-Forwarded-Ssl": "off",
        "X-Forwarded-Uri": "/oauth2/sign_in",
        "X-Forwarded-User": "alice",
        "X-Original-URL": "/oauth2/sign_in",
        "X-Real-IP": "203.0.113.9",
        "X-Rewrite-URL": "/oauth2/sign_in",
        "X-Scheme": "http",
    }
    # nginx drops names with underscores, which programs behind it would take for the same.
    names = list(forged) + ["X_Forwarded_For", "X_Forwarded_User"]
    options = " ".join(f"--header '{name}: {forged.get(name, '203.0.113.9')}'" for name in names)

    start_all()
    browser = Browser(client, site)
    browser.wait_for_login()
    workspace.wait_for_open_port(9000)

    with subtest("nobody gets in"):
        for path in ["/", "/edit/", "/apps/echo/"]:
            assert browser.status(path, options) == f"302 {site}/oauth2/sign_in?rd={path}", path
        assert browser.status("/oauth2/auth", options) == "401 "
        assert browser.status("/oauth2/userinfo", options) == "401 "

    with subtest("the login leads where it would lead without them"):
        assert browser.status("/oauth2/sign_in", options) == "200 "
        assert "evil" not in browser.page(), browser.page()
        assert browser.sign_in(options=options) == f"302 {site}/edit/"
        assert browser.status("/oauth2/sign_out", options) == f"302 {site}/"
        assert browser.status("http://${domain}/edit/", options) == f"301 {site}/edit/"

    with subtest("the servers behind it see what nginx saw"):
        assert browser.sign_in().startswith("302")
        address = client.succeed("ip -4 -json addr show eth1 | tr -d '[]' | grep -o '\"local\":\"[^\"]*' | cut -d'\"' -f4").strip()
        expected = {
            "Host": "${domain}",
            "X-Forwarded-For": address,
            "X-Forwarded-Host": "${domain}",
            "X-Forwarded-Proto": "https",
            "X-Real-IP": address,
        }
        plain = json.loads(browser.run("/apps/echo/"))["headers"]
        seen = json.loads(browser.run("/apps/echo/", options))["headers"]
        assert seen == plain, (seen, plain)
        assert expected.items() <= seen.items(), seen
        assert "203.0.113.9" not in json.dumps(seen) and "evil" not in json.dumps(seen), seen
        assert not ({name.lower() for name in forged} - {name.lower() for name in expected}) & {name.lower() for name in seen}, seen

    with subtest("nor do they hide who guesses"):
        browser.forget()
        guesses = []
        for guess in range(40):
            forged_address = f"--header 'X-Forwarded-For: 203.0.113.{guess}' --header 'X-Real-IP: 203.0.113.{guess}' --header 'Forwarded: for=203.0.113.{guess}'"
            guesses.append(browser.sign_in("wrong", forged_address))
        assert guesses.count("429 ") >= 10, guesses

    with subtest("the log has the address that the connection came from"):
        journal = workspace.succeed("journalctl --unit oauth2-proxy --unit nginx --no-pager")
        assert address in journal and "203.0.113." not in journal
  '';
}
