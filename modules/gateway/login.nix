# The login: oauth2-proxy on a unix socket, asked by nginx about every request.
{
  config,
  lib,
  options,
  pkgs,
  ...
}:
let
  inherit (lib) mkIf mkOption types;
  cfg = config.workspace.gateway;
  inherit (config.workspace)
    domain
    exposure
    name
    owner
    ;
  enabled = owner != null && domain != null && exposure == "public";
  fromSecretManager = cfg.htpasswdFile == null;

  account = "oauth2-proxy";
  proxy = "http://unix:/run/oauth2-proxy/http.sock";
  # In memory: what came from Secret Manager. On disk: what must survive a reboot.
  secrets = "/run/workspace-login";
  state = "/var/lib/workspace-login";
  # Of this owner: whoever had the home disk before has seen the key that was theirs.
  cookieSecret = "${state}/cookie-secret-${
    lib.substring 0 16 (builtins.hashString "sha256" (toString owner))
  }";
  htpasswd = if fromSecretManager then "${secrets}/htpasswd" else cfg.htpasswdFile;
  oauthClient = "${secrets}/oauth-client.env";

  templates = pkgs.linkFarm "login-pages" {
    "sign_in.html" = pkgs.replaceVars ./pages/sign_in.html {
      name = lib.escapeXML name;
      owner = lib.escapeXML owner;
    };
    "error.html" = pkgs.replaceVars ./pages/error.html { name = lib.escapeXML name; };
  };

  secretOf = {
    password = "workspace-${name}-password";
    google = "workspace-${name}-oauth-client";
  };

  fetch = pkgs.writeShellApplication {
    name = "fetch-login-secret";
    runtimeInputs = [
      pkgs.coreutils
      pkgs.gnugrep
      pkgs.jq
      pkgs.mkpasswd
      (import ./read-secret.nix { inherit pkgs; })
    ];
    text = builtins.readFile ./fetch-login-secret.sh;
  };

  sandbox = import ../workspace/sandbox.nix // {
    User = account;
    Group = account;
  };

  # Passwords are taken by the form alone, where guessing is slow: not by a header on any path.
  proxyHeaders =
    more:
    import ./proxy-headers.nix { inherit lib; } {
      more = {
        Authorization = ''""'';
      }
      // more;
    };
  login = extraConfig: {
    proxyPass = proxy;
    recommendedProxySettings = false;
    extraConfig = ''
      auth_request off;
      ${extraConfig}
    '';
  };
in
{
  options.workspace.gateway = {
    login = mkOption {
      type = types.enum [
        "password"
        "google"
      ];
      default = "password";
      description = ''
        `password`: the owner types a password that `cargo xtask password` shows.
        `google`: the owner signs in with the Google account of their address, through an
        OAuth client made by hand.
      '';
      example = "google";
    };

    allowedEmails = mkOption {
      type = types.listOf (types.strMatching "[A-Za-z0-9._+-]+@[A-Za-z0-9.-]+");
      default = [ ];
      description = ''
        Addresses of Google accounts that may sign in beside the owner's, with
        `login = "google"`. Whoever signs in has the owner's files, terminal and rights.
      '';
      example = [ "bob@acme.example" ];
    };

    htpasswdFile = mkOption {
      type = types.nullOr types.path;
      default = null;
      description = ''
        File of `USER:HASH` lines (bcrypt, as `htpasswd -B` makes them), readable for the
        group `oauth2-proxy`. `null` means that the password is read from Secret Manager
        when the machine runs, from the secret `workspace-NAME-password`.
      '';
      example = "/etc/workspace/htpasswd";
    };
  };

  config = mkIf enabled {
    assertions = [
      {
        assertion = cfg.allowedEmails == [ ] || cfg.login == "google";
        message = "workspace.gateway.allowedEmails: a password is the owner's alone; set workspace.gateway.login to \"google\", or remove the addresses.";
      }
    ];

    services.oauth2-proxy = {
      enable = true;
      provider = "google";
      # Its page offers Google only with `login = "google"`, which brings a client of its own.
      clientID = mkIf (cfg.login == "password") "none";
      keyFile = mkIf (cfg.login == "google") oauthClient;
      extraConfig = {
        redirect-url = "https://${domain}/oauth2/callback";
        http-address = "unix:///run/oauth2-proxy/http.sock,mode=0660";
        # Health checks would answer without a session.
        ping-path = "";
        ready-path = "";
        skip-provider-button = false;
        silence-ping-logging = true;
        cookie-samesite = "lax";
        # Who it is, and nothing to ask Google with: the browser need not keep Google's tokens.
        session-cookie-minimal = true;
      }
      // lib.optionalAttrs (cfg.login == "password") { client-secret = "none"; }
      // lib.optionalAttrs (cfg.login == "google") {
        code-challenge-method = "S256";
        # A browser often has more than one Google account.
        prompt = "select_account";
      };
      # Nobody else's Google account will do, whatever else is configured.
      email.addresses = lib.concatLines ([ owner ] ++ cfg.allowedEmails);
      htpasswd.file = mkIf (cfg.login == "password") htpasswd;
      customTemplatesDir = templates;
      reverseProxy = true;
      cookie = {
        # Browsers keep this prefix to the one host, over HTTPS: workspaces of one
        # project are neighbours below the same domain.
        name = "__Host-workspace";
        secretFile = cookieSecret;
      };
    }
    # Callers on a unix socket are trusted in any case; without this the option's
    # absence means that everybody is.
    // lib.optionalAttrs (options.services.oauth2-proxy ? trustedProxyIP) {
      trustedProxyIP = [ "127.0.0.1/32" ];
    };

    systemd.services.oauth2-proxy = {
      # Without its OAuth client it does not start, rather than fail again and again.
      unitConfig = mkIf (cfg.login == "google") { ConditionPathExists = oauthClient; };
      requires = [ "workspace-login-prepare.service" ];
      after = [ "workspace-login-prepare.service" ];
      serviceConfig = sandbox // {
        RuntimeDirectory = "oauth2-proxy";
        RuntimeDirectoryMode = "0750";
        RestartSec = 2;
      };
    };
    users.users.${config.services.nginx.user}.extraGroups = [ account ];
    # A reload would leave nginx the groups that it started with: on a machine that has just become
    # a workspace, without the login's.
    systemd.services.nginx.restartTriggers = [ account ];

    systemd.services.workspace-login-prepare = {
      description = "Secrets that the login starts with";
      serviceConfig = sandbox // {
        Type = "oneshot";
        RemainAfterExit = true;
        StateDirectory = "workspace-login";
        StateDirectoryMode = "0700";
        RuntimeDirectory = "workspace-login";
        RuntimeDirectoryMode = "0700";
        RuntimeDirectoryPreserve = true;
        ExecStart = lib.getExe (
          pkgs.writeShellApplication {
            name = "workspace-login-prepare";
            runtimeInputs = [ pkgs.coreutils ];
            text = ''
              # Kept, so that sessions survive a reboot.
              if [ ! -s ${cookieSecret} ]; then
                head -c 32 /dev/urandom | base64 | tr '+/' '-_' | tr -d '\n' > ${cookieSecret}.new
                mv ${cookieSecret}.new ${cookieSecret}
              fi
              # oauth2-proxy wants a file with an entry to watch. Until the password is here
              # that is the hash of no password anybody could know.
              if [ ! -e ${secrets}/htpasswd ]; then
                printf 'nobody:{SHA}%s\n' "$(head -c 20 /dev/urandom | base64)" > ${secrets}/htpasswd
              fi
            '';
          }
        );
      };
    };

    systemd.services.workspace-login-secret = mkIf fromSecretManager {
      description = "The login's secret from Secret Manager";
      requires = [ "workspace-login-prepare.service" ];
      after = [
        "workspace-login-prepare.service"
        "network-online.target"
      ];
      wants = [ "network-online.target" ];
      # The same system also boots on a laptop, where there is no metadata server to ask.
      unitConfig.ConditionFirmware = lib.mkDefault ''smbios-field(product_name = "Google Compute Engine")'';
      environment = {
        SECRET = secretOf.${cfg.login};
        LOGIN = cfg.login;
        OWNER = owner;
        DIRECTORY = secrets;
      };
      serviceConfig = sandbox // {
        Type = "oneshot";
        ReadWritePaths = [ secrets ];
        ExecStart = lib.getExe fetch;
      };
    };
    # An OAuth client is read when oauth2-proxy starts, and at first there is none.
    systemd.paths.workspace-login-restart = mkIf (cfg.login == "google") {
      wantedBy = [ "multi-user.target" ];
      pathConfig.PathChanged = oauthClient;
    };
    systemd.services.workspace-login-restart = mkIf (cfg.login == "google") {
      description = "Restart of the login with a new OAuth client";
      serviceConfig = {
        Type = "oneshot";
        ExecStart = "${config.systemd.package}/bin/systemctl restart oauth2-proxy.service";
      };
    };
    # Often enough that a rotated password works before its owner has found the page.
    systemd.timers.workspace-login-secret = mkIf fromSecretManager {
      wantedBy = [ "timers.target" ];
      timerConfig = {
        OnActiveSec = 0;
        OnUnitInactiveSec = "2min";
        AccuracySec = "5s";
      };
    };

    # By address, so that who guesses does not lock the owner out elsewhere.
    services.nginx.commonHttpConfig = ''
      map $request_method $login_attempt {
        default "";
        POST $binary_remote_addr;
      }
      limit_req_zone $login_attempt zone=login:1m rate=10r/m;
    '';

    services.nginx.virtualHosts.${domain} = {
      extraConfig = ''
        auth_request /oauth2/auth;
        error_page 401 = @login;
      '';
      locations = {
        "/oauth2/" = login (proxyHeaders { });
        "= /oauth2/auth" = login ''
          ${proxyHeaders { Content-Length = ''""''; }}
          # What is asked about may be an upload of any size, which stays where it is.
          proxy_pass_request_body off;
          client_max_body_size 0;
        '';
        "@login" = {
          return = "302 /oauth2/sign_in?rd=$request_uri";
          extraConfig = "auth_request off;";
        };
        # What follows rd= is the address as the browser sent it, with its own `&`s.
        "= /oauth2/sign_in" = login ''
          ${proxyHeaders { X-Auth-Request-Redirect = "$target"; }}
          limit_req zone=login burst=20 nodelay;
          limit_req_status 429;
          # The notice, if there is one. oauth2-proxy's template would drop the comment.
          sub_filter '<div id="notice"></div>'
            '<!--# block name="none" --><!--# endblock --><!--# include virtual="/.workspace/notice.html" stub="none" -->';
          ssi on;
          set $target "";
          if ($args ~ "^rd=(/.*)$") {
            set $target $1;
            set $args "";
          }
        '';
      }
      // lib.optionalAttrs (cfg.login == "password") {
        # There is no OAuth client behind these.
        "= /oauth2/start" = {
          return = "404";
          extraConfig = "auth_request off;";
        };
        "= /oauth2/callback" = {
          return = "404";
          extraConfig = "auth_request off;";
        };
      };
    };
  };
}
