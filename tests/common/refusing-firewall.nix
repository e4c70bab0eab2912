# The firewall as configured, but what it would drop in silence it refuses, so that a
# scan of all ports is quick and each of its answers certain.
{
  networking.firewall.extraCommands = ''
    ip46tables -w -I nixos-fw-log-refuse -p tcp -j REJECT --reject-with tcp-reset
  '';
}
