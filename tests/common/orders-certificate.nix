# A workspace that orders its certificate from the machine `acme` of certificate-authority.nix,
# and tries again soon.
{
  config,
  containers,
  lib,
  ...
}:
let
  inherit (containers.acme) test-support;
in
{
  workspace.gateway.acmeServer = "https://${test-support.acme.caDomain}/dir";
  security.pki.certificateFiles = [ test-support.acme.caCert ];
  systemd.services."acme-order-renew-${config.workspace.domain}".serviceConfig = {
    RestartSec = lib.mkForce 2;
    RestartMaxDelaySec = lib.mkForce 4;
  };
}
