# A public workspace of alice's whose password is in a file instead of Secret Manager, and
# which orders a certificate only where a test names an authority.
{
  config,
  lib,
  pkgs,
  ...
}:
{
  workspace = {
    name = "alice";
    domain = "alice.endpoints.acme-data-science.cloud.goog";
    owner = "alice@acme.example";
    gateway = {
      acmeEmail = "ops@acme.example";
      htpasswdFile = "/run/htpasswd";
    };
  };

  systemd.services."acme-order-renew-${config.workspace.domain}" =
    lib.mkIf (config.workspace.gateway.acmeServer == null)
      {
        unitConfig.ConditionPathExists = "/nowhere";
      };

  systemd.services.htpasswd = {
    requiredBy = [ "oauth2-proxy.service" ];
    before = [ "oauth2-proxy.service" ];
    path = [ pkgs.mkpasswd ];
    serviceConfig.Type = "oneshot";
    script = ''
      printf '%s:%s\n' '${config.workspace.owner}' "$(echo -n 'correct horse battery staple' | mkpasswd --stdin --method=bcrypt)" > /run/htpasswd
      chmod 644 /run/htpasswd
    '';
  };
}
