"""What do the tests of the whole path share?"""
