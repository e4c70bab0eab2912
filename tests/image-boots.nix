{ modules }: { name = "image-boots"; nodes.machine = { }; testScript = ""; }
