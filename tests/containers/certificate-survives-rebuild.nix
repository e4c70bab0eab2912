# A machine built anew with the disk of the one before orders no new certificate, and its owner
# stays signed in.
{ modules }:
let
  domain = "alice.endpoints.acme-data-science.cloud.goog";
  disk = "/tmp/shared/disk";
  machine =
    { lib, ... }:
    {
      imports = [
        modules.gateway
        modules.home
        ../common/password-login.nix
        ../common/orders-certificate.nix
      ];
      workspace.home.device = "/dev/disk/by-id/google-home";
      # A folder that both machines see, in place of the disk.
      fileSystems."/persist" = lib.mkForce {
        device = disk;
        fsType = "none";
        options = [ "bind" ];
      };
    };
in
{
  name = "certificate-survives-rebuild";

  containers.acme =
    { containers, lib, ... }:
    {
      imports = [ ../common/certificate-authority.nix ];
      # Both have the name; the authority is to ask the one that comes first.
      networking.hosts = {
        ${containers.new.networking.primaryIPAddress} = lib.mkForce [ ];
        ${containers.new.networking.primaryIPv6Address} = lib.mkForce [ ];
      };
    };
  containers.old = machine;
  containers.new = machine;
  containers.client =
    { pkgs, ... }:
    {
      environment.systemPackages = [
        pkgs.curl
        pkgs.openssl
      ];
    };

  testScript =
    { containers, ... }:
    builtins.readFile ../common/browser.py
    + ''
      addresses = {"old": "${containers.old.networking.primaryIPAddress}", "new": "${containers.new.networking.primaryIPAddress}"}

      def browser_of(name):
          return Browser(client, "https://${domain}", f"--cacert /tmp/ca.crt --resolve ${domain}:443:{addresses[name]}")

      def serial(name):
          return client.succeed(f"openssl s_client -connect {addresses[name]}:443 -servername ${domain} </dev/null 2>/dev/null | openssl x509 -noout -serial")

      def orders():
          return int(acme.succeed("journalctl --unit pebble | grep --count 'POST /order-plz'"))

      def wait_for_certificate(name):
          client.wait_until_succeeds(f"{browser_of(name).curl} --output /dev/null https://${domain}/", timeout=300)

      acme.start()
      client.start()
      acme.wait_for_unit("pebble.service")
      acme.wait_for_open_port(443)
      client.wait_until_succeeds("curl --silent --fail --insecure https://acme.test:15000/roots/0 > /tmp/ca.crt", timeout=60)
      (old.shared_dir / "disk").mkdir()

      with subtest("a machine orders a certificate"):
          old.start()
          wait_for_certificate("old")
          browser = browser_of("old")
          browser.wait_for_login()
          assert browser.sign_in().startswith("302")
          assert browser.signed_in()
          # More than one when the authority asked before nginx listened.
          ordered = orders()
          assert ordered > 0

      with subtest("another one with its disk has it, and orders none"):
          before = serial("old")
          old.shutdown()
          # As from a system that did not know of it.
          client.succeed("rm --recursive /tmp/shared/disk/acme/acme-challenge")
          new.start()
          wait_for_certificate("new")
          assert serial("new") == before
          new.wait_for_unit("multi-user.target")
          new.succeed("systemctl start acme-order-renew-${domain}.service")
          assert orders() == ordered, orders()
          new.succeed("mountpoint /var/lib/acme", "mountpoint /var/lib/workspace-login")
          new.succeed("test -d /var/lib/acme/acme-challenge")

      with subtest("and its owner is still signed in"):
          browser = browser_of("new")
          browser.wait_for_login()
          assert browser.signed_in()
          assert new.succeed("systemctl --failed --no-legend") == ""
    '';
}
