"""Pascal VOC: an XML file per picture."""
