# docs/options.md: every option of the modules. Rendered here and not by nixpkgs' renderer,
# whose text is another one with each release, while this one is kept in the repository.
{
  lib,
  modules,
  pkgs,
}:
let
  inherit
    (import "${pkgs.path}/nixos/lib/eval-config.nix" {
      system = null;
      modules = lib.attrValues modules ++ [ { nixpkgs.hostPlatform = pkgs.stdenv.hostPlatform.system; } ];
    })
    options
    ;
  documented =
    lib.filterAttrs (name: _: lib.hasPrefix "workspace." name)
      (pkgs.nixosOptionsDoc {
        inherit options;
        # Looking at nixpkgs' own takes most of the time.
        transformOptions =
          option: option // { visible = option.visible && lib.head option.loc == "workspace"; };
      }).optionsNix;

  # Roles are markup of NixOS's manual.
  plain = builtins.replaceStrings [ "{option}`" "{file}`" "{command}`" "{env}`" ] [ "`" "`" "`" "`" ];

  value =
    title: v:
    if v._type or null == "literalMD" then
      "- ${title}: ${lib.trim v.text}\n"
    else if lib.hasInfix "\n" v.text then
      ''
        - ${title}:

          ```nix
          ${lib.replaceStrings [ "\n" ] [ "\n  " ] (lib.trim v.text)}
          ```
      ''
    else
      "- ${title}: `${v.text}`\n";

  link =
    declaration:
    let
      file = toString declaration;
      path =
        lib.removePrefix "${toString ../.}/" file
        + lib.optionalString (builtins.readFileType declaration == "directory") "/default.nix";
    in
    "[${path}](../${path})";

  render =
    name: option:
    ''
      ## `${name}`

      ${plain (lib.trim option.description)}

      - type: ${option.type}${lib.optionalString option.readOnly ", read only"}
    ''
    + lib.optionalString (option ? default) (value "default" option.default)
    + lib.optionalString (option ? example) (value "example" option.example)
    + "- declared in ${lib.concatMapStringsSep ", " link option.declarations}\n";
in
pkgs.writeText "options.md" (
  ''
    # Options of the modules

    Made by `cargo xtask docs` from the modules themselves. What is set for all workspaces is in `modules/` and `hosts/`;
    what is special to one goes into `hosts/NAME/default.nix`.

  ''
  + lib.concatStringsSep "\n" (lib.mapAttrsToList render documented)
)
