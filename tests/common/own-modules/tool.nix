# Adds a command and a service of the owner's.
{ pkgs, ... }:
{
  environment.systemPackages = [ (pkgs.writeShellScriptBin "my-tool" "echo mine") ];
  systemd.services.mine = {
    wantedBy = [ "multi-user.target" ];
    serviceConfig.ExecStart = "${pkgs.coreutils}/bin/sleep infinity";
  };
}
