# A workspace whose certificate authority cannot be reached starts all the same, with a
# certificate of its own: nothing fails, nothing waits, and it asks again until it has one.
{ modules }:
let
  domain = "alice.endpoints.acme-data-science.cloud.goog";
in
{
  name = "starts-without-acme";

  containers.acme = ../common/certificate-authority.nix;

  containers.workspace =
    { pkgs, ... }:
    {
      imports = [
        modules.gateway
        ../common/password-login.nix
        ../common/orders-certificate.nix
      ];
      environment.systemPackages = [ pkgs.openssl ];
    };

  containers.client =
    { containers, pkgs, ... }:
    {
      networking.hosts.${containers.workspace.networking.primaryIPAddress} = [ domain ];
      environment.systemPackages = [
        pkgs.curl
        pkgs.openssl
      ];
    };

  testScript = builtins.readFile ../common/browser.py + ''
    order = "acme-order-renew-${domain}.service"

    ISSUER = "openssl s_client -connect ${domain}:443 -servername ${domain} </dev/null 2>/dev/null | openssl x509 -noout -issuer"

    def issuer():
        return client.succeed(ISSUER)

    workspace.start()
    client.start()
    browser = Browser(client, "https://${domain}")

    with subtest("the login answers, with a certificate of its own"):
        browser.wait_for_login()
        assert "minica" in issuer(), issuer()
        assert browser.sign_in().startswith("302")
        assert browser.signed_in()

    with subtest("the first order came to nothing, and that is no failure"):
        workspace.wait_for_unit("multi-user.target")
        workspace.wait_until_succeeds(f"journalctl --unit {order} | grep 'Failed to fetch certificates'", timeout=300)
        assert workspace.succeed("systemctl --failed --no-legend") == ""

    with subtest("nginx has started when it can be told of a certificate, not before"):
        workspace.succeed("systemctl restart nginx && grep . /proc/$(systemctl show --property MainPID --value nginx)/task/*/children")

    with subtest("one is served after a reload, however soon it followed another"):
        workspace.succeed(
            "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=${domain}/O=another -keyout /tmp/key.pem -out /tmp/fullchain.pem"
        )
        for file in ["key.pem", "fullchain.pem"]:
            old = f"/var/lib/acme/${domain}/{file}"
            # Written over, as the service does it.
            workspace.succeed(f"touch --reference {old} /tmp/{file} && cp --preserve=timestamps /tmp/{file} {old}")
        workspace.succeed("systemctl reload nginx")
        client.wait_until_succeeds(f"{ISSUER} | grep another", timeout=30)

    with subtest("it is placed again, by itself, until there is a certificate"):
        acme.start()
        acme.wait_for_unit("pebble.service")
        acme.wait_for_open_port(443)
        client.wait_until_succeeds("curl --silent --fail --insecure https://acme.test:15000/roots/0 > /tmp/ca.crt", timeout=60)
        client.wait_until_succeeds("curl --silent --cacert /tmp/ca.crt --output /dev/null https://${domain}/", timeout=300)
        assert "Pebble" in issuer(), issuer()

    with subtest("nobody was signed out by it"):
        assert browser.signed_in()
        assert workspace.succeed("systemctl --failed --no-legend") == ""
  '';
}
