# The only way in by browser: nginx with a certificate, and a login before everything
# but the login itself and the certificate authority's challenge.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkIf mkOption types;
  cfg = config.workspace.gateway;
  inherit (config.workspace)
    domain
    exposure
    owner
    routes
    ;
  public = owner != null && exposure == "public";
  private = owner != null && exposure == "private";

  # A name to evaluate by where the assertion below will say that there is none.
  host = if domain == null then "missing.invalid" else domain;

  upstream =
    route:
    if route.socket != null then
      "http://unix:${route.socket}"
    else
      "http://127.0.0.1:${toString route.port}";

  # Browsers let any page open a websocket to any place, with that place's cookies: a
  # page of somebody else's would be a terminal in here. They say whose page it was.
  ownOrigin =
    if public then
      "https://${lib.escapeRegex host}"
    else
      "http://(localhost|127\\.0\\.0\\.1)(:[0-9]+)?";
  foreignWebsockets = ''
    map "$http_upgrade|$http_origin" $foreign_websocket {
      default 1;
      "~^\|" 0;
      "~^[^|]+\|$" 0;
      "~^[^|]+\|${ownOrigin}$" 0;
    }
  '';

  routeLocations = lib.mapAttrs (_path: route: {
    proxyPass = upstream route;
    proxyWebsockets = true;
    extraConfig = ''
      if ($foreign_websocket) {
        return 403;
      }
      # Editors keep a connection open for as long as they are open, and upload big files.
      proxy_read_timeout 1d;
      proxy_send_timeout 1d;
      proxy_request_buffering off;
      client_max_body_size 0;
    '';
  }) routes;

  notReady = pkgs.replaceVars ./pages/not_ready.html { name = lib.escapeXML config.workspace.name; };
  ownPages = {
    # `return` alone would answer before the login is asked for.
    "= /".tryFiles = "/.none @start";
    "@start".return = "302 /edit/";
    # In place of a server that does not answer.
    "= /.workspace/not_ready.html" = {
      alias = notReady;
      extraConfig = ''
        internal;
        auth_request off;
        ssi on;
      '';
    };
    # Included in other pages; mostly there is none.
    "= /.workspace/notice.html" = {
      alias = config.workspace.notice;
      extraConfig = ''
        internal;
        auth_request off;
        log_not_found off;
      '';
    };
  };
  notReadyPage = "error_page 500 502 504 =503 /.workspace/not_ready.html;";

  # A machine that has booted the image of a profile and is nobody's yet.
  nobodys = pkgs.writeTextDir "index.html" ''
    <!doctype html>
    <html lang="en">
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>No workspace yet</title>
    <body style="font: 1rem/1.5 system-ui, sans-serif; max-width: 36rem; margin: 4rem auto; padding: 0 1rem">
    <h1>No workspace yet</h1>
    <p>This machine runs the image <strong>${config.workspace.name}</strong> and has not been given a workspace.</p>
    <p>Whoever looks after the fleet can see why with <code>cargo xtask status</code>.</p>
    </body>
    </html>
  '';
in
{
  imports = [
    ../workspace
    ./login.nix
  ];

  options.workspace.gateway = {
    acmeEmail = mkOption {
      type = types.nullOr types.str;
      default = null;
      description = "Address that the certificate authority may write to. Needed when the workspace is public.";
      example = "ops@acme.example";
    };

    acmeServer = mkOption {
      type = types.nullOr types.str;
      default = null;
      description = "Directory URL of the certificate authority. `null` means Let's Encrypt.";
      example = "https://dv.acme-v02.api.pki.goog/directory";
    };
  };

  config = lib.mkMerge [
    {
      services.nginx = {
        enable = true;
        recommendedOptimisation = true;
        recommendedProxySettings = true;
        recommendedTlsSettings = true;
        serverTokens = false;
        appendHttpConfig = mkIf (public || private) foreignWebsockets;
      };
    }

    (mkIf public {
      assertions = [
        {
          assertion = domain != null;
          message = "workspace.domain: a public workspace needs a host name for its certificate; set it, or workspace.exposure to \"private\".";
        }
        {
          assertion = cfg.acmeEmail != null;
          message = "workspace.gateway.acmeEmail: a public workspace needs a certificate; set the address that the certificate authority may write to.";
        }
      ];

      security.acme.acceptTerms = true;
      security.acme.defaults = {
        email = mkIf (cfg.acmeEmail != null) cfg.acmeEmail;
        server = mkIf (cfg.acmeServer != null) cfg.acmeServer;
      };

      networking.firewall.allowedTCPPorts = [
        80
        443
      ];

      services.nginx.virtualHosts = {
        ${host} = {
          enableACME = true;
          forceSSL = true;
          extraConfig = ''
            add_header Strict-Transport-Security "max-age=31536000" always;
            ${notReadyPage}
          '';
          locations = routeLocations // ownPages;
        };
        # Whoever asks for another name, or for the bare address, gets no answer.
        "_" = {
          default = true;
          rejectSSL = true;
          locations."/".return = "444";
        };
      };
    })

    (mkIf private {
      # Google decides who reaches this port; from elsewhere in the network nobody does.
      networking.firewall.extraCommands = ''
        iptables -w -A nixos-fw -p tcp --source 35.235.240.0/20 --dport 80 -j nixos-fw-accept
      '';
      assertions = [
        {
          assertion = !config.networking.nftables.enable;
          message = "networking.nftables.enable: a private workspace opens its port with an iptables rule; leave nftables off.";
        }
      ];

      services.nginx.virtualHosts = {
        # The name in the owner's browser. Any other could be a page of somebody else's
        # whose name was made to resolve to the tunnel.
        localhost = {
          serverAliases = [ "127.0.0.1" ];
          extraConfig = notReadyPage;
          locations = routeLocations // ownPages;
        };
        "_" = {
          default = true;
          locations."/".return = "444";
        };
      };
    })

    (mkIf (owner == null) {
      # In the store, so that the first switch to somebody's workspace need not fetch it.
      system.extraDependencies = [ config.services.oauth2-proxy.package ];

      networking.firewall.allowedTCPPorts = [ 80 ];
      services.nginx.virtualHosts."_" = {
        default = true;
        root = nobodys;
        locations."/".tryFiles = "/index.html =404";
      };
    })
  ];
}
