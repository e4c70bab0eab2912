# A workspace behind a login that tests can pass on the machine itself: `sign-in` prints the
# session's cookie. Its certificate is the one that nginx has before it has one.
{ modules }:
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (config.workspace) domain owner;
in
{
  imports = [
    modules.gateway
    ./password-login.nix
  ];
  workspace.exposure = "public";
  networking.hosts."127.0.0.1" = [ domain ];
  systemd.timers."acme-renew-${domain}".enable = lib.mkForce false;
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
          --data-urlencode 'username=${owner}' --data-urlencode 'password=correct horse battery staple' --data-urlencode rd=/edit/ \
          https://${domain}/oauth2/sign_in | gawk '/__Host-workspace/ { print $6 "=" $7 }'
      '';
    })
  ];
}
