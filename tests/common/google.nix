# A machine in Google's place: the metadata server and Secret Manager, with secrets in
# /run/secrets.
{ pkgs, ... }:
{
  networking.firewall.allowedTCPPorts = [ 80 ];
  systemd.services.secret-manager = {
    wantedBy = [ "multi-user.target" ];
    serviceConfig = {
      RuntimeDirectory = "secrets";
      ExecStart = "${pkgs.python3}/bin/python3 ${./secret-manager.py} /run/secrets";
    };
  };
}
