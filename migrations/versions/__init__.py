"""One file per migration; ids are numbers that sort."""
