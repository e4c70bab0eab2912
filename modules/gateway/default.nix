# The only way in by browser: nginx, and a login before everything but the login itself and
# the certificate authority's challenge.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkIf;
  cfg = config.workspace.gateway;
  inherit (config.workspace)
    apps
    domain
    exposure
    name
    owner
    routes
    ;
  public = owner != null && exposure == "public";
  private = owner != null && exposure == "private";

  # A name to evaluate by where the assertion below will say that there is none.
  host = if domain == null then "missing.invalid" else domain;

  upstream =
    route:
    (
      if route.socket != null then
        "http://unix:${route.socket}${lib.optionalString route.stripPath ":"}"
      else
        "http://127.0.0.1:${toString route.port}"
    )
    + lib.optionalString route.stripPath "/";

  # Browsers let any page open a websocket to any place, and send a form there, with that
  # place's cookies: a page of somebody else's would be a terminal in here. They say whose
  # page it was. Workspaces of one project are neighbours, so SameSite does not tell.
  ownOrigin =
    if public then
      # On somebody's own machine at whichever port is free.
      "https://${lib.escapeRegex host}${lib.optionalString (host == "localhost") "(:[0-9]+)?"}"
    else
      "http://(localhost|127\\.0\\.0\\.1)(:[0-9]+)?";
  foreignPages = ''
    map "$http_upgrade|$request_method|$http_origin" $foreign_page {
      default 1;
      "~^[^|]*\|[A-Z]+\|$" 0;
      "~^\|(GET|HEAD|OPTIONS)\|" 0;
      "~^[^|]*\|[A-Z]+\|${ownOrigin}$" 0;
    }
  '';

  # At the end of a tunnel, or of a port forwarded from somebody's own machine, the port is part
  # of the name.
  tunnelled = private || host == "localhost";
  tunnelHost = ''
    map $http_host $tunnel_host {
      default localhost;
      "~^(localhost|127\.0\.0\.1)(:[0-9]+)?$" $http_host;
    }
  '';

  # The session is between the browser and the login.
  withoutSession = ''
    map $http_cookie $cookies_of_apps {
      default $http_cookie;
      "~^(?<cookies_before>(?:.*; *)?)__Host-workspace=[^;]*(?:; *)?(?<cookies_after>.*)$" $cookies_before$cookies_after;
    }
  '';

  proxyHeaders = import ./proxy-headers.nix { inherit lib; };
  routeLocations = lib.mapAttrs (_path: route: {
    proxyPass = upstream route;
    proxyWebsockets = true;
    recommendedProxySettings = false;
    extraConfig = ''
      if ($foreign_page) {
        return 403;
      }
      ${proxyHeaders {
        host = if tunnelled then "$tunnel_host" else "$host";
        more = lib.optionalAttrs public { Cookie = "$cookies_of_apps"; };
      }}
      proxy_redirect off;
      # Editors keep a connection open for as long as they are open, and upload big files.
      proxy_read_timeout 1d;
      proxy_send_timeout 1d;
      proxy_request_buffering off;
      client_max_body_size 0;
    '';
  }) routes;

  link =
    path:
    "<li><a href=\"${lib.escapeXML path}\"><strong>${
      lib.escapeXML routes.${path}.title
    }</strong><span>${lib.escapeXML path}</span></a></li>";
  ofApps = map (app: "/apps/${app}/") (lib.attrNames apps);
  start = pkgs.linkFarm "start-page" {
    "start.html" = pkgs.replaceVars ./pages/start.html {
      name = lib.escapeXML name;
      owner = lib.escapeXML owner;
      # The editor first.
      links = lib.concatMapStringsSep "\n" link (
        lib.subtractLists ofApps (lib.attrNames routes) ++ ofApps
      );
      signOut = lib.optionalString public ''<a href="/oauth2/sign_out">Sign out</a>'';
    };
  };

  notReady = pkgs.replaceVars ./pages/not_ready.html { name = lib.escapeXML name; };
  ownPages = {
    "= /" = {
      root = start;
      tryFiles = "/start.html =404";
      extraConfig = "ssi on;";
    };
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
    <meta http-equiv="refresh" content="15">
    <title>No workspace yet</title>
    <body style="font: 1rem/1.5 system-ui, sans-serif; max-width: 36rem; margin: 4rem auto; padding: 0 1rem">
    <h1>No workspace yet</h1>
    <p>This machine runs the image <strong>${name}</strong>, and has no workspace, or is about to fetch it.</p>
    <p>If this page stays for more than a quarter of an hour, whoever looks after the fleet sees why with
    <code>cargo xtask status</code>, and gives it one with <code>cargo xtask deploy</code>.</p>
    </body>
    </html>
  '';
in
{
  imports = [
    ../workspace
    ./certificate.nix
    ./login.nix
  ];

  config = lib.mkMerge [
    {
      services.nginx = {
        enable = true;
        # What has an open websocket keeps it through changes of the configuration.
        enableReload = true;
        recommendedOptimisation = true;
        recommendedTlsSettings = true;
        serverTokens = false;
        # A reload would keep the placeholder in place of a certificate that came within the same second: the file is
        # written over, and nginx goes by its inode and the seconds of its time.
        appendConfig = "ssl_object_cache_inheritable off;";
        appendHttpConfig = lib.mkMerge [
          (mkIf (public || private) foreignPages)
          (mkIf public withoutSession)
          (mkIf (owner != null && tunnelled) tunnelHost)
        ];
      };

      # Told to reload before it has workers, nginx forgets that, and the certificate that has just come would not be
      # served: it has not started until then. One that has none after ten seconds is for others to judge.
      systemd.services.nginx = {
        # Whatever keeps it from starting may be mended, and nobody starts it then.
        startLimitIntervalSec = lib.mkForce 0;
        serviceConfig.Type = lib.mkDefault "exec";
        postStart = ''
          for _ in {1..100}; do
            [[ -e /proc/$MAINPID && -z $(< "/proc/$MAINPID/task/$MAINPID/children") ]] || break
            sleep 0.1
          done
        '';
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
