# SSH by OS Login: the owner's Google account reaches the one account that also runs the
# editor, whatever OS Login calls them. Operators get accounts of their own, as everywhere.
{
  config,
  lib,
  pkgs,
  utils,
  ...
}:
let
  inherit (lib)
    mkDefault
    mkForce
    mkIf
    mkOption
    types
    ;
  cfg = config.workspace.ssh;
  inherit (config.workspace) owner user;
  account = config.users.users.${user};
  state = "/var/lib/workspace-ssh";

  # As guest-oslogin takes them.
  osLoginUser = "[a-z0-9._][a-z0-9._-]{0,31}";

  # alice.smith@acme.example → alice_smith_acme_example, and with ext_ before it where the
  # address is of another organisation than the project. Whether a hyphen stays, and what
  # becomes of more than 32 characters, is not documented: of such names these are guesses, and
  # one that OS Login does not have does no harm.
  # https://cloud.google.com/compute/docs/connect/add-ssh-keys
  namesOf =
    address:
    let
      spelled =
        kept:
        lib.stringAsChars (c: if builtins.match "[a-z0-9${kept}]" c == null then "_" else c) (
          lib.toLower address
        );
    in
    lib.unique (
      lib.filter (name: builtins.match osLoginUser name != null) (
        lib.concatMap
          (
            name:
            map (lib.substring 0 32) [
              name
              "ext_${name}"
            ]
          )
          [
            (spelled "-")
            (spelled "")
          ]
      )
    );

  keys = pkgs.writeShellApplication {
    name = "workspace-ssh-keys";
    runtimeInputs = [
      pkgs.coreutils
      pkgs.curl
      pkgs.google-guest-oslogin
      pkgs.jq
      pkgs.util-linux
    ];
    # sshd hands no environment on.
    runtimeEnv = {
      OWNER = owner;
      USER_OF_OWNER = user;
      OS_LOGIN_USERS = lib.concatStringsSep " " cfg.osLoginUsers;
    };
    text = builtins.readFile ./keys.sh;
  };

  # Other names of the same account. Not lines of /etc/passwd, where the first of several
  # with one number would be a matter of chance: these are found by name alone.
  aliases = lib.mergeAttrsList (map alias cfg.osLoginUsers);
  alias =
    name:
    {
      "userdb/${name}.user".text = builtins.toJSON {
        userName = name;
        inherit (account) uid;
        gid = config.users.groups.${account.group}.gid;
        homeDirectory = account.home;
        shell = utils.toShellPath account.shell;
        disposition = "regular";
      };
    }
    // lib.genAttrs' account.extraGroups (
      group: lib.nameValuePair "userdb/${name}:${group}.membership" { text = ""; }
    );
in
{
  imports = [ ../workspace ];

  options.workspace.ssh.osLoginUsers = mkOption {
    type = types.listOf (types.strMatching osLoginUser);
    default = if owner == null then [ ] else namesOf owner;
    defaultText = lib.literalMD "the names that OS Login forms of {option}`workspace.owner`";
    description = ''
      What OS Login may call the owner. `gcloud compute ssh` logs in by that name and no
      other, and reaches {option}`workspace.user`. Set it where an administrator has given
      the owner another name; `gcloud compute os-login describe-profile` shows it.
    '';
    example = [ "asmith" ];
  };

  config = lib.mkMerge [
    {
      services.openssh = {
        enable = mkDefault true;
        settings = {
          PermitRootLogin = "no";
          PasswordAuthentication = false;
          KbdInteractiveAuthentication = false;
        };
        # Keys are Google's to give and to take: what stood in a home would outlive an IAM role.
        authorizedKeysInHomedir = false;
        hostKeys = [
          {
            type = "ed25519";
            path = "${state}/ssh_host_ed25519_key";
          }
        ];
      };
      # A machine built anew is the same one to those who knew it.
      workspace.state.ssh = state;

      security.googleOsLogin.enable = mkDefault true;
      security.pam.services.sshd = mkIf config.security.googleOsLogin.enable {
        # google_authorized_keys has asked the same before. As an account module it refuses
        # whoever OS Login does not know, and so the owner's account by its own name.
        googleOsLoginAccountVerification = mkForce false;
        # Where the home disk is missing one must be able to look.
        rules.session.mkhomedir.control = mkForce "optional";
      };
    }

    (mkIf (owner != null) {
      assertions = map (name: {
        assertion = !config.users.users ? ${name};
        message = "workspace.ssh.osLoginUsers: ${name} is an account of this machine already; remove it from the list or rename that account.";
      }) cfg.osLoginUsers;

      environment.etc = aliases // {
        # sshd refuses to run what lies in the store, which has a group that may write.
        "ssh/workspace-ssh-keys" = {
          mode = "0755";
          source = lib.getExe keys;
        };
      };
      services.openssh.authorizedKeysCommand = mkForce "/etc/ssh/workspace-ssh-keys %u";
      services.openssh.authorizedKeysCommandUser = "root";

      # Before OS Login, which has another account of that name to offer.
      system.nssDatabases.passwd = lib.mkOrder 900 [ "systemd" ];
      # Programs go by these.
      services.openssh.extraConfig = mkIf (cfg.osLoginUsers != [ ]) (
        lib.mkAfter ''
          Match User ${lib.concatStringsSep "," cfg.osLoginUsers}
            SetEnv USER=${user} LOGNAME=${user}
          Match all
        ''
      );
    })
  ];
}
