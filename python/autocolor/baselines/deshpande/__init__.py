"""The colorizer of Deshpande, Rock and Forsyth (ICCV 2015): a forest whose trees set up a linear system."""
