# `system.build.vm`: the workspace on somebody's own machine, as `cargo xtask vm` starts it.
# All that differs from the cloud is here.
{ lib, options, ... }:
let
  inherit (lib) mkDefault mkForce;

  variant =
    {
      config,
      lib,
      pkgs,
      ...
    }:
    let
      inherit (config.workspace) exposure owner;
      public = owner != null && exposure == "public";
      htpasswd = "/run/workspace-vm/htpasswd";
    in
    lib.mkMerge [
      {
        virtualisation = {
          graphics = false;
          cores = mkDefault 2;
          # MiB: the editor, a notebook, a compiler.
          memorySize = mkDefault 4096;
          diskSize = mkDefault (20 * 1024);
        };
        # The disk holds a file system and no partitions.
        systemd.repart.enable = mkForce false;
        # Asks the metadata server about every account it does not know.
        security.googleOsLogin.enable = mkForce false;
      }

      # The port is opened on the machine that runs this one, to itself alone.
      (lib.mkIf (owner != null && exposure == "private") {
        networking.firewall.allowedTCPPorts = [ 80 ];
      })

      (lib.optionalAttrs (options.workspace ? home) {
        workspace.home.device = mkForce "/dev/disk/by-id/virtio-home";
        # The machine's own list of file systems, which hides the one of the module `home`.
        virtualisation.fileSystems."/persist" =
          import ../home/file-system.nix "/dev/disk/by-id/virtio-home";
      })

      (lib.optionalAttrs (options.workspace ? gateway) (
        lib.mkIf public {
          workspace = {
            domain = mkForce "localhost";
            gateway = {
              login = mkForce "password";
              allowedEmails = mkForce [ ];
              htpasswdFile = mkForce htpasswd;
            };
          };
          # No certificate authority vouches for this name. What nginx starts with stays.
          systemd.services.acme-order-renew-localhost.enable = false;
          # The port in the browser is one that was forwarded.
          services.nginx.appendHttpConfig = "absolute_redirect off;";

          systemd.services.workspace-vm-password = {
            description = "The login's password, as the machine that runs this one gave it";
            requiredBy = [ "oauth2-proxy.service" ];
            before = [ "oauth2-proxy.service" ];
            environment.OWNER = owner;
            serviceConfig = {
              Type = "oneshot";
              RemainAfterExit = true;
              ImportCredential = "workspace.password";
              RuntimeDirectory = "workspace-vm";
              RuntimeDirectoryPreserve = true;
              Group = "oauth2-proxy";
              UMask = "0027";
              ExecStart = lib.getExe (
                pkgs.writeShellApplication {
                  name = "workspace-vm-password";
                  runtimeInputs = [ pkgs.mkpasswd ];
                  text = ''
                    password=$CREDENTIALS_DIRECTORY/workspace.password
                    if [ ! -s "$password" ]; then
                      echo "No password was given to this machine. Start it with: cargo xtask vm" >&2
                      exit 1
                    fi
                    hash=$(mkpasswd --stdin --method=bcrypt --rounds=12 < "$password")
                    printf '%s:%s\n' "$OWNER" "$hash" > ${htpasswd}
                  '';
                }
              );
            };
          };
        }
      ))
    ];
in
{
  imports = [ ../workspace ];

  virtualisation.vmVariant = variant;
}
