# The daemon of Nix in the machine under test.
{ config, lib, ... }:
{
  # In full, for builds of Nix that bring no units of their own.
  systemd.sockets.nix-daemon.socketConfig.ListenStream = [
    ""
    "/nix/var/nix/daemon-socket/socket"
  ];
  systemd.services.nix-daemon.serviceConfig.ExecStart = [
    ""
    "${lib.getExe' config.nix.package "nix-daemon"} --daemon"
  ];
}
