# A dead agent costs the owner no other cache: Nix goes on with those that answer.
{ modules }:
import ../common/fleet-of-one.nix {
  inherit modules;
  name = "other-substituters-still-work";

  next.good.environment.etc.patched.text = "yes";

  workspace =
    { lib, ... }:
    {
      # After the fleet's own.
      nix.settings.substituters = lib.mkForce (lib.mkAfter [ "http://google:8080" ]);
    };

  testScript = ''
    upload("good")
    google.succeed("mv /run/cloud/bucket /run/public")
    google.succeed("systemd-run --unit=public-cache python3 -m http.server --directory /run/public 8080")
    google.wait_for_open_port(8080)
    workspace.succeed("systemctl stop workspace-agent")
    workspace.fail("curl --silent http://127.0.0.1:8451/nix-cache-info")
    said = workspace.succeed(f"env --unset=NIX_REMOTE nix-store --realise {SYSTEMS['good']} 2>&1", timeout=120)
    assert "from 'http://google:8080'" in said, said
    workspace.succeed(f"env --unset=NIX_REMOTE nix-store --check-validity {SYSTEMS['good']}")
  '';
}
