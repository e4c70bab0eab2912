# A workspace behind a login that tests can pass on the machine itself: `sign-in` prints the
# session's cookie. Its certificate is the one that nginx has before it has one.
{ modules }:
{ lib, pkgs, ... }:
let
  domain = "alice.endpoints.acme-data-science.cloud.goog";
  owner = "alice@acme.example";
  password = "correct horse battery staple";
in
{
  imports = [ modules.gateway ];
  workspace = {
    name = "alice";
    inherit domain owner;
    exposure = "public";
    gateway = {
      acmeEmail = "ops@acme.example";
      htpasswdFile = "/run/htpasswd";
    };
  };
  networking.hosts."127.0.0.1" = [ domain ];
  systemd.services."acme-order-renew-${domain}".enable = lib.mkForce false;
  systemd.timers."acme-renew-${domain}".enable = lib.mkForce false;
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
  environment.systemPackages = [
    pkgs.curl
    (pkgs.writeShellApplication {
      name = "sign-in";
      runtimeInputs = [
        pkgs.curl
        pkgs.gawk
      ];
      text = ''
        curl --silent --show-error --insecure --fail --max-time 20 --cookie-jar - --output /dev/null \
          --data-urlencode 'username=${owner}' --data-urlencode 'password=${password}' --data-urlencode rd=/edit/ \
          https://${domain}/oauth2/sign_in | gawk '/__Host-workspace/ { print $6 "=" $7 }'
      '';
    })
  ];
}
