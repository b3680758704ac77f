"""Instance folders: a mask file per picture, whose values number the objects."""
