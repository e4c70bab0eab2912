# Extensions and settings of the system come and go with it. The owner's own extensions stay,
# and one of the system's that the owner has brought up to date stays so.
{ modules }:
let
  extension =
    pkgs: name: version:
    pkgs.runCommand "acme-${name}"
      {
        passthru = {
          inherit version;
          vscodeExtPublisher = "acme";
          vscodeExtName = name;
          vscodeExtUniqueId = "acme.${name}";
        };
        manifest = builtins.toJSON {
          publisher = "acme";
          inherit name version;
          engines.vscode = "*";
        };
      }
      ''
        mkdir -p $out/share/vscode/extensions/acme.${name}
        echo "$manifest" > $out/share/vscode/extensions/acme.${name}/package.json
      '';
  # The same as a file that an owner may install.
  vsix =
    pkgs: name: version:
    pkgs.runCommand "${name}.vsix" { nativeBuildInputs = [ pkgs.python3 ]; } ''
      mkdir extension
      install -m 644 ${extension pkgs name version}/share/vscode/extensions/acme.${name}/package.json extension/
      cat > extension.vsixmanifest << END
      <PackageManifest Version="2.0.0" xmlns="http://schemas.microsoft.com/developer/vsx-schema/2011">
        <Metadata><Identity Language="en-US" Id="${name}" Version="${version}" Publisher="acme"/></Metadata>
        <Installation><InstallationTarget Id="Microsoft.VisualStudio.Code"/></Installation>
        <Assets><Asset Type="Microsoft.VisualStudio.Code.Manifest" Path="extension/package.json" Addressable="true"/></Assets>
      </PackageManifest>
      END
      python3 -m zipfile --create $out extension extension.vsixmanifest
    '';
in
{
  name = "owner-extensions-persist";

  containers.workspace =
    {
      extendModules,
      lib,
      pkgs,
      ...
    }:
    {
      imports = [ (import ../common/private-workspace.nix { inherit modules; }) ];
      workspace.ide = {
        extensions = [
          (extension pkgs "first" "1.0.0")
          (extension pkgs "both" "1.0.0")
        ];
        settings."editor.tabSize" = 3;
      };
      system.switch.enable = true;
      system.build = {
        changed =
          (extendModules {
            modules = [
              {
                workspace.ide.extensions = lib.mkForce [
                  (extension pkgs "second" "1.0.0")
                  (extension pkgs "both" "3.0.0")
                ];
              }
            ];
          }).config.system.build.toplevel;
        own = vsix pkgs "own" "1.0.0";
        newer = vsix pkgs "both" "2.0.0";
      };
    };

  testScript =
    { containers, ... }:
    let
      inherit (containers.workspace.system) build;
    in
    ''
      import json

      def editor(arguments):
          return workspace.succeed(
              "runuser -u alice -- ${containers.workspace.workspace.ide.package}/bin/openvscode-server --server-data-dir=/home/alice/.openvscode-server "
              f"--extensions-dir=/home/alice/.openvscode-server/extensions {arguments}"
          )

      def extensions():
          found = editor("--list-extensions --show-versions").split()
          return [one for one in found if one.startswith("acme.")]

      workspace.wait_for_unit("openvscode-server.service")

      with subtest("those of the system are there"):
          assert extensions() == ["acme.both@1.0.0", "acme.first@1.0.0"], extensions()

      with subtest("settings of the system are defaults, in no file of the owner's"):
          location = next(
              one["location"]["path"]
              for one in json.loads(workspace.succeed("cat /home/alice/.openvscode-server/extensions/extensions.json"))
              if one["identifier"]["id"] == "workspace.defaults"
          )
          defaults = json.loads(workspace.succeed(f"cat {location}/package.json"))["contributes"]["configurationDefaults"]
          assert defaults["editor.tabSize"] == 3 and defaults["workbench.startupEditor"] == "none", defaults
          workspace.fail("find /home/alice -name settings.json | grep .")

      with subtest("the owner adds one, and brings one up to date"):
          editor("--install-extension ${build.own} --install-extension ${build.newer} --force")
          assert extensions() == ["acme.both@2.0.0", "acme.first@1.0.0", "acme.own@1.0.0"], extensions()
          workspace.succeed("systemctl restart openvscode-server")
          assert extensions() == ["acme.both@2.0.0", "acme.first@1.0.0", "acme.own@1.0.0"], extensions()

      with subtest("another system brings others, and the owner's stay"):
          workspace.succeed("${build.changed}/bin/switch-to-configuration test >&2", "systemctl restart openvscode-server")
          assert extensions() == ["acme.both@2.0.0", "acme.own@1.0.0", "acme.second@1.0.0"], extensions()

      with subtest("when the list is spoilt the editor starts without them"):
          workspace.succeed("echo spoilt > /home/alice/.openvscode-server/extensions/extensions.json", "systemctl restart openvscode-server")
          assert workspace.succeed("cat /home/alice/.openvscode-server/extensions/extensions.json") == "spoilt\n"
          workspace.succeed("journalctl --unit openvscode-server | grep 'Move it away and restart the editor'")
    '';
}
