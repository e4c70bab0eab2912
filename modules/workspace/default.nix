# Who a workspace belongs to and what it is called: the vocabulary that the other
# modules share, and the one account of its owner.
{ config, lib, ... }:
let
  inherit (lib)
    mkDefault
    mkIf
    mkOption
    types
    ;
  cfg = config.workspace;

  # alice.smith+ml@acme.example → alice-smith-ml
  accountOf =
    owner:
    let
      local = lib.toLower (builtins.head (lib.splitString "@" owner));
      safe = lib.stringAsChars (c: if builtins.match "[a-z0-9]" c == null then "-" else c) local;
      # root@acme.example is somebody, and not this machine's root.
      taken = builtins.elem safe systemAccounts || builtins.match "(nixbld|systemd-).*" safe != null;
    in
    lib.substring 0 31 (if taken || builtins.match "[a-z].*" safe == null then "u-${safe}" else safe);
  systemAccounts = [
    "acme"
    "bin"
    "daemon"
    "dhcpcd"
    "docker"
    "messagebus"
    "nginx"
    "nobody"
    "nscd"
    "oauth2-proxy"
    "polkituser"
    "root"
    "sshd"
  ];

  server =
    { name, ... }:
    {
      options = {
        title = mkOption {
          type = types.singleLineStr;
          default = lib.last ([ name ] ++ lib.filter (part: part != "") (lib.splitString "/" name));
          defaultText = lib.literalMD "the last part of the path";
          description = "What the workspace's page calls it.";
          example = "TensorBoard";
        };
        socket = mkOption {
          type = types.nullOr types.path;
          default = null;
          description = "Unix socket that the server listens on.";
          example = "/run/workspace-servers/openvscode-server.sock";
        };
        port = mkOption {
          type = types.nullOr types.port;
          default = null;
          description = "Port on 127.0.0.1 that the server listens on, for servers that know no sockets.";
          example = 8888;
        };
        stripPath = mkOption {
          type = types.bool;
          default = false;
          description = "Whether the server sees addresses without the path, for servers that know no base path and make relative links.";
          example = true;
        };
      };
    };
in
{
  imports = [
    ./notice.nix
    ./servers.nix
  ];

  options.workspace = {
    name = mkOption {
      type = types.strMatching "[a-z]([-a-z0-9]{0,38}[a-z0-9])?";
      description = "Name of the workspace: a label of RFC 1035, at most 40 characters. It is the machine's host name.";
      example = "alice";
    };

    owner = mkOption {
      type = types.nullOr (types.strMatching "[A-Za-z0-9._+-]+@[A-Za-z0-9.-]+");
      default = null;
      description = ''
        E-mail address of the one person the workspace belongs to. `null` on a
        machine that has no owner yet, such as one that booted the image of a profile:
        it answers with a page that says so.
      '';
      example = "alice@acme.example";
    };

    user = mkOption {
      type = types.strMatching "[a-z_][a-z0-9_-]{0,30}";
      default = if cfg.owner == null then "nobody" else accountOf cfg.owner;
      defaultText = lib.literalMD "the part of {option}`workspace.owner` before the `@`, as an account name";
      description = "Name of the owner's account on the machine.";
      example = "alice";
    };

    domain = mkOption {
      type = types.nullOr (types.strMatching "[a-z0-9]([-a-z0-9.]*[a-z0-9])?");
      default = null;
      description = ''
        Host name in the workspace's URL. `null` where there is none: on a private
        workspace, and on a machine without an owner.
      '';
      example = "alice.endpoints.acme-data-science.cloud.goog";
    };

    exposure = mkOption {
      type = types.enum [
        "public"
        "private"
      ];
      default = "public";
      description = ''
        `public`: HTTPS for everyone, behind the login. `private`: HTTP for Identity-Aware
        Proxy's TCP forwarding alone, where Google's IAM decides who gets in.
      '';
      example = "private";
    };

    state = mkOption {
      type = types.attrsOf types.path;
      default = { };
      description = ''
        State that a machine built anew must not lose: folders, by the name that each has on
        the disk that outlives the machine. Module `home` puts them there; without it they
        stay where they are.
      '';
      example = {
        acme = "/var/lib/acme";
      };
    };

    unitsThatMayFail = mkOption {
      type = types.listOf types.str;
      default = [ ];
      description = ''
        Units whose failure tells nothing of the system they are in: they need what others
        grant or answer, and try again or say so elsewhere. Module `agent` does not hold them
        against a new system.
      '';
      example = [ "nightly-backup.service" ];
    };

    apps = mkOption {
      type = types.attrsOf (types.submodule server);
      default = { };
      description = ''
        Servers on this machine that the gateway offers behind its login at `/apps/NAME/`.
        The server sees that path, so it must know it as its base path, or set
        `stripPath`. A socket must let nginx's group write to it, and lie outside of `/home` and `/run/user`.
      '';
      example = lib.literalExpression "{ tensorboard.port = 6006; }";
    };

    routes = mkOption {
      type = types.attrsOf (types.submodule server);
      default = { };
      description = ''
        Servers on this machine that the gateway offers behind its login, by path.
        The server sees the path unchanged, so it must know it as its base path.
      '';
      example = lib.literalExpression ''{ "/edit/".socket = "/run/workspace-servers/openvscode-server.sock"; }'';
    };
  };

  config = {
    workspace.routes = lib.mapAttrs' (name: lib.nameValuePair "/apps/${name}/") cfg.apps;

    assertions =
      lib.mapAttrsToList (path: route: {
        assertion = (route.socket == null) != (route.port == null);
        message = "workspace.routes.\"${path}\": set either `socket` or `port`.";
      }) cfg.routes
      ++ map (name: {
        assertion = builtins.match "[A-Za-z0-9][A-Za-z0-9_-]*" name != null;
        message = "workspace.apps.\"${name}\": the name is part of a URL; write it with letters, digits, - and _.";
      }) (lib.attrNames cfg.apps);

    # Weaker than mkDefault: NixOS tests give their machines names that way.
    networking.hostName = lib.mkOverride 1100 cfg.name;

    users.users.${cfg.user} = mkIf (cfg.owner != null) {
      isNormalUser = true;
      # Files on a home disk outlive the machine, so the number must be the same on the next one.
      uid = 1000;
      description = cfg.owner;
      extraGroups = [ "wheel" ];
    };
    # The owner has no password to type: who gets in is decided at the login page and by OS Login.
    security.sudo.wheelNeedsPassword = mkIf (cfg.owner != null) (mkDefault false);
  };
}
