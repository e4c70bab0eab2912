# A certificate authority that wants to know whose account asks (external account binding) is
# told so with a key from Secret Manager, which is read when the machine runs, is in no store,
# argv or log, and is not needed any more once the account is there.
{ modules }:
let
  domain = "alice.endpoints.acme-data-science.cloud.goog";
  keyId = "key-of-acme";
  # 32 bytes in base64url, as Google gives them.
  key = "cG9pc29uIHBvaXNvbiBwb2lzb24gcG9pc29uIHBvaXM";
in
{
  name = "acme-account-is-bound";

  containers.acme =
    {
      lib,
      modulesPath,
      pkgs,
      ...
    }:
    let
      certificates = import "${modulesPath}/../tests/common/acme/server/snakeoil-certs.nix";
      settings.pebble = {
        listenAddress = "0.0.0.0:443";
        managementListenAddress = "0.0.0.0:15000";
        certificate = certificates.${certificates.domain}.cert;
        privateKey = certificates.${certificates.domain}.key;
        httpPort = 80;
        tlsPort = 443;
        externalAccountBindingRequired = true;
        externalAccountMACKeys.${keyId} = key;
      };
    in
    {
      imports = [ ../common/certificate-authority.nix ];
      systemd.services.pebble.serviceConfig.ExecStart =
        lib.mkForce "${pkgs.pebble}/bin/pebble -config ${pkgs.writeText "pebble.conf" (builtins.toJSON settings)}";
    };

  containers.google = ../common/google.nix;

  containers.workspace = {
    imports = [
      modules.gateway
      ../common/password-login.nix
      ../common/orders-certificate.nix
      (import ../common/asks-google.nix "workspace-acme-account")
    ];
    workspace.gateway.acmeExternalAccount.enable = true;
  };

  containers.client =
    { containers, pkgs, ... }:
    {
      networking.hosts.${containers.workspace.networking.primaryIPAddress} = [ domain ];
      environment.systemPackages = [ pkgs.curl ];
    };

  testScript = ''
    import json

    order = "acme-order-renew-${domain}.service"

    def set_key(value):
        google.succeed(f"printf %s '{json.dumps(value)}' > /run/new; mv /run/new /run/secrets/workspace-alice-acme-account")

    def wait_for_log(unit, text):
        workspace.wait_until_succeeds(f"journalctl --unit {unit} | grep '{text}'", timeout=300)

    acme.start()
    google.start()
    client.start()
    acme.wait_for_unit("pebble.service")
    acme.wait_for_open_port(443)
    google.wait_for_open_port(80)
    client.wait_until_succeeds("curl --silent --fail --insecure https://acme.test:15000/roots/0 > /tmp/ca.crt", timeout=60)
    workspace.start()

    with subtest("without a key there is no account, and the log says what is missing"):
        wait_for_log("workspace-acme-account", "no version of workspace-alice-acme-account")
        wait_for_log(order, "Failed to fetch certificates")

    with subtest("something else than a key is refused with what it should be"):
        set_key({"keyId": "${keyId}"})
        wait_for_log("workspace-acme-account", "is not JSON with keyId and b64MacKey")

    with subtest("a wrong key is refused by the authority"):
        set_key({"keyId": "unknown", "b64MacKey": "${key}"})
        wait_for_log(order, "unauthorized")
        client.fail("curl --silent --cacert /tmp/ca.crt --output /dev/null https://${domain}/")

    with subtest("with the right one there is a certificate"):
        set_key({"name": "projects/1/locations/global/externalAccountKeys/1", "keyId": "${keyId}", "b64MacKey": "${key}"})
        client.wait_until_succeeds("curl --silent --cacert /tmp/ca.crt --output /dev/null https://${domain}/", timeout=300)

    with subtest("the key is not needed any more"):
        google.succeed("rm /run/secrets/workspace-alice-acme-account")
        workspace.succeed("rm --recursive /run/workspace-acme/eab.env")
        workspace.succeed(f"systemctl restart {order}")
        assert workspace.succeed("systemctl --failed --no-legend") == ""

    with subtest("it was in memory, and nowhere else"):
        workspace.fail("journalctl --no-pager | grep '${key}'")
        workspace.fail("grep --recursive --quiet '${key}' /etc /var/lib/acme")
        workspace.succeed("findmnt --noheadings --output FSTYPE --target /run/workspace-acme | grep tmpfs")
        workspace.succeed("test $(stat --dereference --format=%a /run/workspace-acme) = 700")
  '';
}
