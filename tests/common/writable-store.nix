# A store of the machine's own on top of the one that it shares with its host, and a
# database that knows nixpkgs and the system's extra dependencies: what a machine has that
# booted its own disk.
{
  config,
  pkgs,
  ...
}:
{
  imports = [ ./nix-daemon.nix ];

  systemd.services.writable-store = {
    wantedBy = [ "sysinit.target" ];
    before = [ "nix-daemon.socket" ];
    unitConfig.DefaultDependencies = false;
    path = [
      config.nix.package
      pkgs.coreutils
      pkgs.util-linux
    ];
    serviceConfig = {
      Type = "oneshot";
      RemainAfterExit = true;
    };
    script = ''
      mkdir -p /store
      mount -t tmpfs none /store
      mkdir /store/{upper,work}
      mount -t overlay -o lowerdir=/nix/store,upperdir=/store/upper,workdir=/store/work none /nix/store
      nix-store --load-db < ${
        pkgs.closureInfo {
          rootPaths = config.system.extraDependencies ++ [ "${config.nixpkgs.flake.source}" ];
        }
      }/registration
    '';
  };
}
