<?php
header('Content-Type: text/plain');
echo file_get_contents('http://' . getenv('BACKEND') . $_SERVER['REQUEST_URI']);
