# What a virtual machine of Google Compute Engine needs: its devices, its network,
# its clock and its console.
{
  config,
  lib,
  modulesPath,
  options,
  pkgs,
  ...
}:
let
  inherit (lib) mkDefault mkOption types;
  cfg = config.workspace.gce;
  agent = pkgs.google-guest-agent;
in
{
  # virtio in the initrd; no login on consoles, a panic reboots.
  imports = [
    "${modulesPath}/profiles/headless.nix"
    "${modulesPath}/profiles/qemu-guest.nix"
  ];

  options.workspace.gce.mtu = mkOption {
    type = types.ints.between 1300 8896;
    default = 1460;
    description = ''
      Maximum transmission unit of the network, in bytes. Google's networks have 1460
      unless they were made otherwise, and drop larger packets.
    '';
    example = 8896;
  };

  config = {
    # Disks: NVMe on the newer machine families, SCSI on the others.
    boot.initrd.availableKernelModules = [
      "nvme"
      "virtio_scsi"
      "virtio_pci"
      "virtio_blk"
    ];
    # The serial console is the only one: `cargo xtask logs` and Cloud Logging read it.
    boot.kernelParams = [ "console=ttyS0,115200n8" ];

    networking.useNetworkd = mkDefault true;
    # Not "every interface": docker's and those of tests have their own settings.
    networking.useDHCP = mkDefault false;
    systemd.network.networks."50-gce" = {
      # gVNIC, virtio-net, and the IDPF of the newest families.
      matchConfig.Driver = "gve virtio_net idpf";
      networkConfig.DHCP = "ipv4";
      linkConfig.MTUBytes = toString cfg.mtu;
      dhcpV4Config.UseDomains = true;
    };
    systemd.network.wait-online.anyInterface = mkDefault true;

    # Nobody on Google's network answers to it, and it would listen.
    services.resolved =
      if options.services.resolved ? settings then
        { settings.Resolve.LLMNR = "false"; }
      else
        { llmnr = "false"; };

    # The metadata server answers before any resolver is up.
    networking.hosts."169.254.169.254" = [
      "metadata.google.internal"
      "metadata"
    ];
    networking.timeServers = [ "metadata.google.internal" ];
    services.timesyncd.enable = mkDefault true;

    # Google's firewall may be open where ours is not, never the other way round.
    networking.firewall.enable = true;

    users.mutableUsers = false;
    # Nobody has a password: SSH goes by OS Login, the browser by the gateway's login.
    users.allowNoPasswordLogin = true;

    # Names disks as /dev/disk/by-id/google-NAME, and tunes the network as Google recommends.
    services.udev.packages = [ pkgs.google-guest-configs ];
    services.udev.path = [ pkgs.google-guest-configs ];
    environment.etc."sysctl.d/60-gce-network-security.conf".source =
      "${pkgs.google-guest-configs}/etc/sysctl.d/60-gce-network-security.conf";

    systemd.packages = [ agent ];
    systemd.services.google-guest-agent = {
      wantedBy = [ "multi-user.target" ];
      restartTriggers = [ config.environment.etc."default/instance_configs.cfg".source ];
      # The same image also boots on a laptop, where there is no metadata server to ask.
      unitConfig.ConditionFirmware = ''smbios-field(product_name = "Google Compute Engine")'';
    };
    # Accounts, host keys and the network are this configuration's; what is left to
    # the agent is the clock after a live migration and the report to the console.
    environment.etc."default/instance_configs.cfg".text = lib.generators.toINI { } {
      Daemons = {
        accounts_daemon = false;
        network_daemon = false;
      };
      InstanceSetup.set_host_keys = false;
      NetworkInterfaces.setup = false;
    };
  };
}
