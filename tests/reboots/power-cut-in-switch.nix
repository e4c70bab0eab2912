# A machine that loses its power while a new system is committed, or while one is on trial, boots
# the old one or the new one, says truly which, and goes on by itself to the one that is wanted.
{ modules }:
import ../common/fleet-of-one.nix {
  inherit modules;
  name = "power-cut-in-switch";
  boots = true;

  next.first.environment.etc.patched.text = "first";
  next.second.environment.etc.patched.text = "second";

  testScript = ''
    def wait_for(condition):
        workspace.wait_until_succeeds(condition, timeout=900)

    def is_current(name):
        wait_for_state("current")
        assert running() == booting() == SYSTEMS[name], (running(), booting())
        assert attribute("system") == attribute("wanted") == SYSTEMS[name]
        assert workspace.succeed("cat /etc/patched") == name
        assert workspace.succeed("systemctl --failed --no-legend") == ""

    with subtest("a cut while it is committed leaves one or the other"):
        upload("first")
        want("first")
        # The profile comes first, the boot menu last.
        wait_for(f"test $(readlink --canonicalize /nix/var/nix/profiles/system) = {SYSTEMS['first']}")
        workspace.crash()
        boot()
        assert booted() in (NOW, SYSTEMS["first"]), booted()

    with subtest("from either it goes on"):
        is_current("first")

    with subtest("a cut while another is on trial leaves the one before, which was committed"):
        upload("second")
        want("second")
        wait_for("grep second /etc/patched")
        workspace.crash()
        boot()
        assert booted() == SYSTEMS["first"], booted()

    with subtest("it is tried once more, and stays"):
        is_current("second")

    with subtest("nothing of its store is spoilt"):
        workspace.succeed("nix-store --verify --check-contents >&2")
  '';
}
