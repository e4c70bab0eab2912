# The metadata server hands out the token of the machine's service account to whoever asks.
# Optionally it answers root and the accounts of the workspace's own units alone.
{ config, lib, ... }:
let
  inherit (lib) mkIf mkOption types;
  cfg = config.workspace.hardening;

  # Names and clock come from the same address, by other ports.
  web = "-p tcp -m multiport --dports 80,443";
  addresses = {
    iptables = "169.254.169.254";
    ip6tables = "fd20:ce::254";
  };
  forBoth =
    rules:
    lib.concatStrings (lib.mapAttrsToList (command: address: rules "${command} -w" address) addresses);
  remove = forBoth (
    command: address: ''
      ${command} -D OUTPUT -d ${address} ${web} -j workspace-metadata 2> /dev/null || true
      ${command} -F workspace-metadata 2> /dev/null || true
      ${command} -X workspace-metadata 2> /dev/null || true
      ${command} -t mangle -D FORWARD -d ${address} ${web} -j DROP 2> /dev/null || true
    ''
  );
in
{
  options.workspace.hardening = {
    metadataForRootOnly = mkOption {
      type = types.bool;
      default = false;
      description = ''
        Whether the metadata server, which gives out the token of the machine's service
        account, answers only root and {option}`workspace.hardening.metadataAccounts`: not what the
        owner runs without `sudo`, and nothing in containers. Then `gcloud` and Google's
        libraries no longer find credentials by themselves in the owner's hands; they need
        `gcloud auth application-default login`. It is a hurdle for code that was fetched from
        somewhere, not for the owner, who is root on their machine.
      '';
      example = true;
    };

    metadataAccounts = mkOption {
      type = types.listOf types.str;
      default = [ ];
      description = "Accounts that may ask the metadata server when {option}`workspace.hardening.metadataForRootOnly` is set.";
      example = [ "alice" ];
    };
  };

  config = mkIf cfg.metadataForRootOnly {
    assertions = [
      {
        assertion = config.networking.firewall.enable && !config.networking.nftables.enable;
        message = "workspace.hardening.metadataForRootOnly: works by iptables rules of the firewall; set networking.firewall.enable, and leave networking.nftables off.";
      }
    ];

    # Of units of the workspace that have a use for the token.
    workspace.hardening.metadataAccounts =
      lib.optional config.services.oauth2-proxy.enable "oauth2-proxy"
      ++ lib.optional config.services.opentelemetry-collector.enable "opentelemetry-collector";

    networking.firewall.extraCommands =
      remove
      + forBoth (
        command: address: ''
          ${command} -N workspace-metadata
          ${lib.concatMapStrings (account: ''
            ${command} -A workspace-metadata -m owner --uid-owner ${account} -j RETURN
          '') ([ "root" ] ++ cfg.metadataAccounts)}
          ${command} -A workspace-metadata -j REJECT
          ${command} -I OUTPUT -d ${address} ${web} -j workspace-metadata
          # Of containers. Not in the table `filter`, where docker puts its own rules before any other.
          ${command} -t mangle -I FORWARD -d ${address} ${web} -j DROP
        ''
      );
    networking.firewall.extraStopCommands = remove;
  };
}
