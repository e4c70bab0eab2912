# Less for an intruder to find, and more for whoever looks afterwards. What would break
# docker, containers without root, Nix's sandbox, CUDA or a debugger is left as it is.
{ lib, ... }:
let
  inherit (lib) mkDefault;
in
{
  imports = [
    ../workspace
    ./metadata.nix
  ];

  # The owner is root by sudo, which says who it was.
  services.openssh.settings = {
    PermitRootLogin = "no";
    # The fingerprint of the key that came in.
    LogLevel = mkDefault "VERBOSE";
  };

  boot.kernel.sysctl = lib.mapAttrs (_: mkDefault) {
    # The kernel's messages are for root; so are its addresses, by a default of NixOS's.
    "kernel.dmesg_restrict" = 1;
    "kernel.unprivileged_bpf_disabled" = 1;
    "net.core.bpf_jit_harden" = 2;
    # A debugger may look into what it has started, which is how editors debug; into
    # another process only with sudo. From 2 on the first would need root as well.
    "kernel.yama.ptrace_scope" = 1;
    # Only whoever has the terminal chooses its line discipline.
    "dev.tty.ldisc_autoload" = 0;

    # No packet from an address that the machine would not answer this way, none that says
    # where it wants to go, and no router's word but the network's.
    "net.ipv4.conf.all.rp_filter" = 1;
    "net.ipv4.conf.default.rp_filter" = 1;
    "net.ipv4.conf.all.accept_source_route" = 0;
    "net.ipv6.conf.all.accept_source_route" = 0;
    "net.ipv4.conf.all.accept_redirects" = 0;
    "net.ipv4.conf.default.accept_redirects" = 0;
    "net.ipv6.conf.all.accept_redirects" = 0;
    "net.ipv6.conf.default.accept_redirects" = 0;
    "net.ipv4.conf.all.send_redirects" = 0;
    "net.ipv4.conf.default.send_redirects" = 0;
    "net.ipv4.tcp_syncookies" = 1;
  };

  # Any user can have the kernel load a protocol or a file system by asking for it. These
  # are hardly ever used, and hardly ever looked at.
  boot.blacklistedKernelModules = [
    "af_802154"
    "appletalk"
    "atm"
    "ax25"
    "can"
    "dccp"
    "ipx"
    "n_gsm"
    "n_hdlc"
    "netrom"
    "p8022"
    "p8023"
    "psnap"
    "rds"
    "rose"
    "sctp"
    "tipc"
    "x25"

    "adfs"
    "affs"
    "befs"
    "bfs"
    "cramfs"
    "efs"
    "freevxfs"
    "hfs"
    "hfsplus"
    "hpfs"
    "jffs2"
    "jfs"
    "minix"
    "nilfs2"
    "omfs"
    "qnx4"
    "qnx6"
    "sysv"
    "ufs"
  ];

  # Who came in and what they did as root is there after a reboot, and never fills the disk.
  services.journald = {
    storage = mkDefault "persistent";
    extraConfig = ''
      SystemMaxUse=1G
      SystemKeepFree=2G
      MaxRetentionSec=90day
    '';
  };
}
