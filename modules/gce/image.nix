# The disk image: GPT, made by systemd-repart without a virtual machine. Its first
# partition holds systemd-boot and the first generation, its last one is the root,
# which grows to the disk's size at boot.
{
  config,
  lib,
  modulesPath,
  pkgs,
  ...
}:
let
  inherit (config.system.build) toplevel;
  efiArch = pkgs.stdenv.hostPlatform.efiArch;
  systemdBoot = "${config.systemd.package}/lib/systemd/boot/efi/systemd-boot${efiArch}.efi";

  # The name that nixpkgs' systemd-boot installer gives to generation 1, so that it
  # takes the entry over at the first switch.
  entry = "nixos-generation-1.conf";
  kernelFile = "EFI/nixos/generation-1-linux.efi";
  initrdFile = "EFI/nixos/generation-1-initrd.efi";

  # A database that knows the closure: without it Nix would take every path of the
  # image for garbage. Registration times are zeroed to keep the image reproducible.
  nixState =
    pkgs.runCommand "nix-state"
      {
        nativeBuildInputs = [
          config.nix.package
          pkgs.python3
        ];
        closure = pkgs.closureInfo { rootPaths = [ toplevel ]; };
      }
      ''
        export NIX_STATE_DIR=$PWD/state USER=nobody
        nix-store --load-db < $closure/registration
        python3 - <<EOF
        import sqlite3
        with sqlite3.connect("state/db/db.sqlite", isolation_level=None) as database:
            database.execute("UPDATE ValidPaths SET registrationTime = 0")
            database.execute("VACUUM")
        EOF
        mkdir -p $out/db $out/profiles $out/gcroots
        cp state/db/{db.sqlite,schema} $out/db/
        ln -s ${toplevel} $out/profiles/system-1-link
        ln -s system-1-link $out/profiles/system
        ln -s /nix/var/nix/profiles $out/gcroots/profiles
      '';
in
{
  imports = [ "${modulesPath}/image/repart.nix" ];

  fileSystems."/" = {
    device = "/dev/disk/by-label/nixos";
    fsType = "ext4";
    autoResize = true;
  };
  fileSystems."/boot" = {
    device = "/dev/disk/by-label/ESP";
    fsType = "vfat";
    # Holds initrds, which may hold secrets.
    options = [ "umask=0077" ];
  };
  # The partition grows first, then `autoResize` the file system.
  systemd.repart = {
    enable = true;
    partitions."20-root".Type = "root";
  };

  boot.loader = {
    grub.enable = false;
    systemd-boot = {
      enable = true;
      # Each generation takes about 60 MB of the 1 GiB on the ESP.
      configurationLimit = lib.mkDefault 8;
      editor = false;
    };
    # Time enough to choose an older generation on the serial console.
    timeout = lib.mkDefault 3;
    efi.canTouchEfiVariables = false;
  };

  image.repart = {
    name = lib.mkDefault "workspace";
    # The store is many small files, and so are the environments that people install.
    mkfsOptions.ext4 = [ "-i 8192" ];
    partitions = {
      "10-esp" = {
        contents = {
          "/EFI/BOOT/BOOT${lib.toUpper efiArch}.EFI".source = systemdBoot;
          # Where `bootctl` looks for what it may update.
          "/EFI/systemd/systemd-boot${efiArch}.efi".source = systemdBoot;
          "/${kernelFile}".source = "${toplevel}/kernel";
          "/${initrdFile}".source = "${toplevel}/initrd";
          "/loader/loader.conf".source = pkgs.writeText "loader.conf" ''
            timeout ${toString config.boot.loader.timeout}
            default ${entry}
            editor 0
          '';
          "/loader/entries/${entry}".source = pkgs.runCommand entry { } ''
            cat > $out <<EOF
            title ${config.system.nixos.distroName}
            version Generation 1 ${config.system.nixos.label}
            linux /${kernelFile}
            initrd /${initrdFile}
            options init=${toplevel}/init $(cat ${toplevel}/kernel-params)
            sort-key nixos
            EOF
          '';
        };
        repartConfig = {
          Type = "esp";
          Format = "vfat";
          Label = "ESP";
          SizeMinBytes = "1G";
          SizeMaxBytes = "1G";
        };
      };
      "20-root" = {
        storePaths = [ toplevel ];
        contents."/nix/var/nix".source = nixState;
        repartConfig = {
          Type = "root";
          Format = "ext4";
          Label = "nixos";
          Minimize = "guess";
          SizeMinBytes = "2G";
        };
      };
    };
  };

  # Google Compute Engine takes disks of whole GiB only. The last partition takes what
  # is added, its file system follows at boot.
  system.build.image = lib.mkForce (
    config.image.repart.image.overrideAttrs (old: {
      # Of a store path that is a link systemd-repart would copy what it leads to.
      preBuild = (old.preBuild or "") + ''
        definition=$finalRepartDefinitions/20-root.conf
        sed --quiet 's/^CopyFiles=//p' "$definition" | while IFS=: read -r source target; do
          if [[ -L $source ]]; then
            sed --in-place "s|^CopyFiles=$source:.*|MakeSymlinks=$target:$(readlink "$source")|" "$definition"
          fi
        done
      '';
      postBuild = (old.postBuild or "") + ''
        gib=$(( ($(stat --format=%s ${config.image.fileName}) + 2**30 - 1) / 2**30 ))
        systemd-repart --dry-run=no --empty=refuse --size=''${gib}G \
          --definitions=$finalRepartDefinitions --sector-size=512 ${config.image.fileName}
      '';
    })
  );

  # Files of the store are read-only, and Nix's state was copied from there.
  systemd.tmpfiles.settings.nix-state = {
    "/nix/var/nix".z.mode = "0755";
    "/nix/var/nix/db".z.mode = "0755";
    "/nix/var/nix/db/db.sqlite".z.mode = "0644";
    "/nix/var/nix/db/schema".z.mode = "0644";
    "/nix/var/nix/profiles".z.mode = "0755";
    "/nix/var/nix/gcroots".z.mode = "0755";
  };
}
