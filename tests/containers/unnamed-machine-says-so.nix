# A machine that booted the image of a profile, and that nobody told what to run, says so to whoever
# opens it, and what to do; there is nothing to log in to. Its agent says so too.
{ modules }:
import ../common/fleet-of-one.nix {
  inherit modules;
  name = "unnamed-machine-says-so";

  next = { };

  testScript = ''
    with subtest("every address of it is the page that says so"):
        for path in ["", "edit/", "oauth2/sign_in"]:
            page = google.succeed(f"curl --silent --fail http://workspace/{path}")
            assert "has no workspace" in page, page
            assert "cargo xtask deploy" in page, page

    with subtest("which is all that listens"):
        google.fail("curl --silent --max-time 5 https://workspace/")
        google.fail("curl --silent --max-time 5 http://workspace:8451/")

    with subtest("the agent says so"):
        assert attribute("state") == "unassigned"
        assert attribute("wanted") == ""
        assert "nothing" in workspace.succeed("workspace why")
        assert workspace.succeed("systemctl --failed --no-legend") == ""
  '';
}
