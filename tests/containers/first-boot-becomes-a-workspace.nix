# A machine that booted the image of a profile becomes a workspace by one metadata key: the owner's
# account and the login come with the closure. Also before there is an OAuth client, which is
# made by hand when there is a machine.
{ modules }:
let
  domain = "alice.endpoints.acme-data-science.cloud.goog";
  of =
    login:
    { lib, ... }:
    {
      # There is no certificate authority here.
      systemd.services."acme-order-renew-${domain}".enable = lib.mkForce false;
      systemd.timers."acme-renew-${domain}".enable = lib.mkForce false;
      workspace = {
        owner = "alice@acme.example";
        inherit domain;
        gateway = {
          acmeEmail = "ops@acme.example";
          inherit login;
        };
      };
    };
in
import ../common/fleet-of-one.nix {
  inherit modules;
  name = "first-boot-becomes-a-workspace";

  next.google = of "google";

  testScript = ''
    def page(path):
        url = f"https://${domain}/{path}"
        return workspace.succeed(f"curl --silent --insecure --connect-to ::127.0.0.1: {url}")

    with subtest("before there is an OAuth client it is a workspace that nobody can log in to"):
        workspace.fail("id alice")
        upload("google")
        want("google")
        wait_for_state("current")
        assert running() == booting() == SYSTEMS["google"]
        assert workspace.succeed("id --user alice") == "1000\n"
        assert "alice" in page("oauth2/sign_in"), page("oauth2/sign_in")
  '';
}
